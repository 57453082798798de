use super::*;

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn in_memory() -> Record {
    let words = Vec::from_iter((0..file::WORDS).map(|_| AtomicU64::new(0))).leak();
    Record { owner: 0, words, directory: None }
}

#[test]
fn every_reason_has_a_code_and_a_place_of_its_own() {
    for (place, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place);
        assert!(reason.code().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
    let mut codes = Reason::ALL.map(Reason::code).to_vec();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Reason::ALL.len());
}

#[test]
fn each_decision_is_counted_and_the_last_ones_are_kept() {
    let record = in_memory();
    for port in 0..200 {
        record.add(file::CONNECT, SocketAddr::new([10, 0, 0, 1].into(), port), Reason::NoRule);
    }
    record.add(file::LISTEN, at("0.0.0.0:6379"), Reason::Accelerated);
    assert_eq!((record.count(Reason::NoRule), record.count(Reason::Accelerated)), (200, 1));
    let (total, _, entries) = file::parts(record.words);
    assert_eq!(total.unwrap().load(Ordering::Relaxed), 201);
    let what = entries[200 % KEPT][1].load(Ordering::Relaxed);
    assert_eq!(what, 6379 << 16 | file::LISTEN << 8 | Reason::Accelerated as u64);
}

#[test]
fn another_process_reads_what_this_one_has_noted() {
    note("test-program", Purpose::Listen(at("10.1.2.3:80")), Reason::Loopback);
    note("test-program", Purpose::Connect(at("[2001:db8::7]:443")), Reason::NoPath);
    let Some(directory) = current().unwrap().directory.clone() else {
        // Not allowed to make the folder.
        return;
    };
    let pid = std::process::id();
    let log = read(directory.parent().unwrap(), pid).unwrap();
    assert_eq!(log.program, "test-program");
    let last: Vec<_> = log.last.iter().map(|entry| (entry.listens, entry.address, &*entry.code)).collect();
    assert!(last.contains(&(true, at("10.1.2.3:80"), "loopback")), "{last:?}");
    assert!(last.contains(&(false, at("[2001:db8::7]:443"), "no_path")), "{last:?}");
    assert!(log.last.iter().all(|entry| entry.at.elapsed().unwrap().as_secs() < 60));
    remove();
    assert_eq!(read(directory.parent().unwrap(), pid), None);
}
