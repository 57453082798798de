//! A folder for one test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A number that no other test of this process has.
pub fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A folder that goes away with the value. Everyone may write in it, since
/// some programs drop their privileges.
pub struct Work(PathBuf);

impl Work {
    /// A new folder.
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("tpa-e2e-{}-{}", std::process::id(), unique()));
        std::fs::create_dir(&path).expect("a folder in the temporary directory");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("mode of a folder");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a folder in the folder that everyone may write in.
    pub fn folder(&self, name: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::create_dir(&path).expect("a folder in the test's folder");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).expect("mode of a folder");
    }

    /// Writes a file into the folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file in the test's folder");
        path
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
