//! Replays what the fuzzers have found: every file of every corpus goes
//! through the body of its target. `scripts/fuzz` searches for more.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;

/// Runs each file of the corpus of `target`; returns how many there were.
fn replay(target: &str, run: fn(&[u8])) -> usize {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect();
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("the corpus is checked in") {
        let path = entry.expect("the folder can be read").path();
        println!("{}", path.display());
        run(&fs::read(&path).expect("the file can be read"));
        count += 1;
    }
    count
}

#[test]
fn the_corpus_of_the_frame_parser_passes() {
    assert!(replay("frame", targets::frame::run) > 10);
}

#[test]
fn the_corpus_of_the_options_passes() {
    assert!(replay("options", targets::options::run) > 10);
}

#[test]
fn the_corpus_of_the_connection_passes() {
    assert!(replay("connection", targets::connection::run) > 10);
}
