//! What is written through the shim reads back the same, 100 MB each way, also
//! when frames are lost, doubled and out of order.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Device, Program, Role, Stage, Work};

const SIZE: usize = 100 << 20;

/// A file of noise: nothing in it repeats, so that no misplaced byte goes unseen.
fn noise(work: &Work) -> PathBuf {
    let path = work.path().join("noise");
    let mut source = File::open("/dev/urandom").expect("/dev/urandom");
    let mut file = File::create(&path).expect("a file");
    let mut block = vec![0; 1 << 20];
    for _ in 0..SIZE / block.len() {
        source.read_exact(&mut block).expect("noise");
        file.write_all(&block).expect("room on the disk");
    }
    path
}

fn run(device: Device, further: &str, limit: Duration) {
    let stage = Stage::with(device, further);
    let noise = noise(&stage.work);
    let redis = stage.redis(&[]);
    let cli = || stage.at_server(Program::new("redis-cli"));
    let transfer = redis.through_stack(|| {
        let reply = stage.run(cli().args(&["-x", "set", "noise"]).input(&noise), limit).good();
        assert_eq!(reply.trim(), "OK");
        let copy = stage.work.path().join("copy");
        let get = format!("redis-cli -h {} get noise > {}", stage.host(), copy.display());
        stage.run(Program::new("sh").args(&["-c", &get]), limit).good();
        assert_same(&noise, &copy);
    });
    assert!(transfer.received > SIZE as u64 && transfer.sent > SIZE as u64, "{transfer:?}");
}

/// redis-cli ends what it prints with a newline.
fn assert_same(original: &Path, copy: &Path) {
    let original = std::fs::read(original).expect("the original");
    let copy = std::fs::read(copy).expect("the copy");
    assert_eq!(copy.len(), original.len() + 1, "length of the copy");
    let differs = original.iter().zip(&copy).position(|(a, b)| a != b);
    assert_eq!(differs, None, "first byte that differs");
}

const FAULTS: &str = "[fault]\nspec = 'both: drop=1%, dup=1%, reorder=1%; seed=7'";

#[test]
fn a_hundred_megabytes_each_way_stay_the_same_over_af_xdp() {
    run(Device::AfXdp, "", Duration::from_secs(60));
}

#[test]
fn a_hundred_megabytes_each_way_stay_the_same_over_memif() {
    run(Device::Memif(Role::Server), "", Duration::from_secs(60));
}

#[test]
fn loss_duplication_and_reordering_change_no_byte_over_af_xdp() {
    run(Device::AfXdp, FAULTS, Duration::from_secs(180));
}

#[test]
fn loss_duplication_and_reordering_change_no_byte_over_memif() {
    run(Device::Memif(Role::Server), FAULTS, Duration::from_secs(180));
}
