//! An nginx with workers of their own user, and what its processes count.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::{wait_until, KernelTcp, Namespace, Program, Running, StackTcp, Work};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub const ADDRESS: SocketAddrV4 = SocketAddrV4::new(SERVER, 80);
const CLIENT: &str = "10.77.0.2";

pub const LIMIT: Duration = Duration::from_secs(60);

/// Bytes of the files that are served.
pub const LARGE: usize = 10_000_000;
pub const SMALL: usize = 600;

/// Bytes that repeat nowhere near.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

/// Two namespaces, joined by an interface of several queues, and the files of a site.
pub struct Site {
    pub server: Namespace,
    pub client: Namespace,
    pub work: Work,
}

impl Site {
    pub fn new(queues: u32) -> Self {
        let (server, client) = Namespace::pair_with_queues(&SERVER.to_string(), CLIENT, queues);
        let work = Work::new();
        work.folder("www");
        work.folder("put");
        work.write("www/small", pattern(SMALL));
        work.write("www/large", pattern(LARGE));
        Self { server, client, work }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Writes nginx.conf: `main` at its top level, `server` in its only server.
    pub fn write_conf(&self, main: &str, server: &str) {
        self.write_conf_of("nginx", main, server);
    }

    fn write_conf_of(&self, name: &str, main: &str, server: &str) {
        let folder = self.work.path().display();
        let daemon = if main.contains("daemon on;") { "" } else { "daemon off;" };
        let text = format!(
            "user www-data; {daemon} pid {folder}/{name}.pid; error_log {folder}/{name}.log info;\n\
             env LD_PRELOAD; env TPA_CONF; env TPA_LOG;\n{main}\nevents {{ worker_connections 2000; }}\n\
             http {{ access_log off; default_type text/plain; keepalive_requests 100000;\n\
             client_body_temp_path {folder}/{name}.body; proxy_temp_path {folder}/{name}.proxy;\n\
             fastcgi_temp_path {folder}/fcgi; uwsgi_temp_path {folder}/uwsgi;\n\
             scgi_temp_path {folder}/scgi;\n\
             server {{ root {folder}/www; client_max_body_size 20m;\n\
             location /put/ {{ root {folder}; dav_methods PUT; }}\n{server}\n}} }}\n"
        );
        self.work.write(&format!("{name}.conf"), text);
    }

    /// Starts nginx under the shim with further lines in tpa.conf.
    pub fn start(&self, further: &str) -> Nginx<'_> {
        self.start_in(&self.server, "nginx", further)
    }

    /// Starts another one in the clients' namespace, at port 9000.
    pub fn start_upstream(&self) -> Nginx<'_> {
        self.work.folder("up");
        let folder = self.work.path().display();
        let put = format!("listen 9000; location /up/ {{ root {folder}; dav_methods PUT; }}");
        self.write_conf_of("upstream", "worker_processes 1;", &put);
        self.start_in(&self.client, "upstream", "")
    }

    fn start_in(&self, namespace: &Namespace, name: &str, further: &str) -> Nginx<'_> {
        let strict = if further.contains("strict") { "" } else { "strict = true" };
        let config = format!("{strict}\nlisten = [80, 443, 9000]\ndevice = 'af_xdp:eth0'\n{further}\n");
        let config = self.work.write(&format!("{name}.tpa.conf"), config);
        let master = Program::new("/usr/sbin/nginx")
            .arg("-c")
            .arg(self.path(&format!("{name}.conf")))
            .accelerated(&config)
            .variable("TPA_LOG", "info")
            .spawn(namespace, &self.work);
        Nginx { site: self, master }
    }

    /// The error log, which is nginx's standard error too.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("nginx.log")).unwrap_or_default()
    }

    /// Waits until the log has this in it.
    pub fn wait_for_line(&self, text: &str) {
        wait_until(LIMIT, &format!("the log to say '{text}'"), || self.log().contains(text));
    }

    /// Waits until `count` of these processes run on stacks of their own.
    pub fn wait_accelerated(&self, count: usize, processes: impl Fn() -> Vec<u32>) -> Vec<u32> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let accelerated: Vec<u32> = processes().into_iter().filter(|&pid| is_accelerated(pid)).collect();
            if accelerated.len() >= count {
                return accelerated;
            }
            if Instant::now() > end {
                let lines: Vec<String> = self.log().lines().take(60).map(str::to_owned).collect();
                panic!("no {count} accelerated workers\n{}", lines.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process of the pid file.
    pub fn master(&self) -> Option<u32> {
        fs::read_to_string(self.path("nginx.pid")).ok()?.trim().parse().ok()
    }
}

/// A running nginx; killed when the value goes away.
pub struct Nginx<'a> {
    site: &'a Site,
    pub master: Running,
}

impl Nginx<'_> {
    pub fn workers(&self) -> Vec<u32> {
        workers_of(self.master.pid())
    }

    /// The workers that run on stacks of their own.
    pub fn accelerated(&self) -> Vec<u32> {
        self.workers().into_iter().filter(|&pid| is_accelerated(pid)).collect()
    }

    /// Waits until so many workers run on stacks of their own, and returns them.
    pub fn wait_accelerated(&self, count: usize) -> Vec<u32> {
        self.site.wait_accelerated(count, || self.workers())
    }

    /// Bytes that each worker has sent.
    pub fn sent_by(&self, workers: &[u32]) -> Vec<u64> {
        workers.iter().map(|&pid| StackTcp::of(pid).expect("a worker's stack").get("bytes_sent")).collect()
    }

    /// Runs a function that tells how many bytes it sent and received, and shows
    /// that these workers have received and sent just as many, and the kernel of
    /// the server's side not a segment. Returns the bytes that each worker sent.
    pub fn served(&self, workers: &[u32], work: impl FnOnce() -> (u64, u64) + Send) -> Vec<u64> {
        let look = || -> Vec<StackTcp> {
            workers.iter().map(|&pid| StackTcp::of(pid).expect("a worker's stack")).collect()
        };
        let (before, kernel) = (look(), KernelTcp::of(&self.site.server));
        let (sent, received) = self.site.client.within(work);
        let after = look();
        assert_eq!(KernelTcp::of(&self.site.server), kernel, "the kernel handled segments");
        let sums = |name| -> Vec<u64> {
            after.iter().zip(&before).map(|(after, before)| after.since(before, name)).collect()
        };
        assert_eq!(sums("bytes_received").iter().sum::<u64>(), sent, "bytes that the workers received");
        let by_worker = sums("bytes_sent");
        assert_eq!(by_worker.iter().sum::<u64>(), received, "bytes that the workers sent");
        by_worker
    }
}

/// Whether a process runs its stack itself: its listeners have moved by then.
pub fn is_accelerated(pid: u32) -> bool {
    StackTcp::of(pid).is_some_and(|stack| stack.get("polls") > stack.get("control_polls"))
}

/// Worker processes of a master that are not about to end.
pub fn workers_of(master: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
    let title = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_worker = |pid: &u32| {
        let title = title(pid);
        title.contains("worker process") && !title.contains("shutting down")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_worker).collect()
}

/// The effective user of a process.
pub fn user_of(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with("Uid:")).expect("proc(5)");
    line.split_whitespace().nth(2).expect("the effective user").to_owned()
}
