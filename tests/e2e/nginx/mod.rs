//! nginx as Debian ships it: a master that stays root, and workers of another user,
//! each with a queue of the interface.

mod http;
mod server;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Client;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use server::{pattern, user_of, workers_of, Site, ADDRESS, LARGE, LIMIT, SMALL};

use crate::harness::{wait_until, KernelTcp, Program, StackTcp};

/// Enough connections that each of two queues gets some.
const CONNECTIONS: usize = 32;

/// Small files over many connections that are kept alive, and large ones over some.
/// Returns the bytes sent and received.
fn fetch() -> (u64, u64) {
    let (small, large) = (pattern(SMALL), pattern(LARGE));
    let mut clients: Vec<Client> =
        (0..CONNECTIONS).map(|_| Client::connect(ADDRESS).expect("to connect")).collect();
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            let is_large = round == 5 && number % 4 == 0;
            let (path, body) = if is_large { ("/large", &large) } else { ("/small", &small) };
            let response = client.get(path).expect("a response");
            assert_eq!(response.status, 200);
            assert!(response.body == *body, "{path} differs, {} bytes", response.body.len());
        }
    }
    end(clients)
}

/// Closes connections; returns the bytes that they sent and received.
fn end(clients: Vec<Client>) -> (u64, u64) {
    let bytes = clients
        .iter()
        .fold((0, 0), |(sent, received), client| (sent + client.sent, received + client.received));
    clients.into_iter().for_each(|client| client.close().expect("to close"));
    bytes
}

/// Two workers, each with its queue, serve static files and nothing goes through
/// the kernel.
fn static_files(listen: &str, further: &str) {
    let site = Site::new(2);
    site.write_conf("worker_processes 2;", &format!("listen {listen}; {further}"));
    let nginx = site.start("");
    let workers = nginx.wait_accelerated(2);
    assert_eq!(user_of(nginx.master.pid()), "0");
    assert!(workers.iter().all(|&pid| user_of(pid) != "0"), "workers have a user of their own");
    let sent = nginx.served(&workers, fetch);
    assert!(sent.iter().all(|&bytes| bytes > 0), "each worker served: {sent:?}");
    assert!(!site.log().contains("SIGCHLD"), "nobody hears of tpad");
}

#[test]
fn two_workers_have_a_queue_each_behind_one_listener() {
    static_files("80", "sendfile on; tcp_nopush on;");
}

#[test]
fn two_workers_have_a_queue_each_with_reuseport() {
    static_files("80 reuseport", "sendfile off;");
}

#[test]
fn files_are_sent_from_other_threads() {
    static_files("80 reuseport", "aio threads; sendfile on; tcp_nopush on; output_buffers 1 64k;");
}

/// What clients saw that asked until they were told to stop.
#[derive(Debug, Default)]
struct Load {
    /// Responses that were whole and right.
    good: usize,
    /// Connections that ended before a response.
    ended: usize,
}

/// Short connections, a few requests on each.
fn load(stop: &AtomicBool) -> Load {
    let (small, mut load) = (pattern(SMALL), Load::default());
    let ask = || -> io::Result<usize> {
        let mut client = Client::connect(ADDRESS)?;
        for _ in 0..3 {
            let response = client.get("/small")?;
            assert!(response.status == 200 && response.body == small, "{}", response.status);
        }
        client.close().map(|()| 3)
    };
    while !stop.load(Ordering::Relaxed) {
        match ask() {
            Ok(count) => load.good += count,
            Err(_) => load.ended += 1,
        }
    }
    load
}

/// Runs a function while clients load the server.
fn under_load(site: &Site, work: impl FnOnce()) -> Load {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(|| site.client.within(|| load(&stop)))).collect();
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let loads = clients.into_iter().map(|client| client.join().expect("a client"));
        let all = loads.fold(Load::default(), |all, load| Load {
            good: all.good + load.good,
            ended: all.ended + load.ended,
        });
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        all
    })
}

fn wait_for_end(processes: &[u32]) {
    let is_alive = |pid: &u32| Path::new(&format!("/proc/{pid}")).exists();
    wait_until(LIMIT, "processes to end", || !processes.iter().any(is_alive));
}

#[test]
fn in_a_reload_new_workers_serve_from_the_kernel_until_the_old_ones_have_left_their_queues() {
    reload("80");
}

#[test]
fn a_reload_with_reuseport_is_no_different() {
    reload("80 reuseport");
}

fn reload(listen: &str) {
    let site = Site::new(2);
    site.write_conf("worker_processes 2;", &format!("listen {listen};"));
    let nginx = site.start("");
    let old = nginx.wait_accelerated(2);
    let body = pattern(100_000);
    let load = under_load(&site, || {
        // Requests under way keep the old workers, whichever has them.
        let mut held = site.client.within(|| {
            let begin = |number| Client::begin_put(ADDRESS, &format!("/put/{number}"), &body);
            (0..CONNECTIONS).map(|number| begin(number).expect("to begin")).collect::<Vec<_>>()
        });
        nginx.master.signal(Signal::SIGHUP);
        let said = "all of its 2 receive queues; the kernel serves until one is free";
        wait_until(LIMIT, "a line from each worker", || site.log().matches(said).count() == 2);
        let kernel = KernelTcp::of(&site.server).segments;
        std::thread::sleep(Duration::from_millis(1500));
        assert!(KernelTcp::of(&site.server).segments > kernel + 100, "the kernel serves");
        assert_eq!(site.log().matches(said).count(), 2, "said once");
        for client in &mut held {
            assert_eq!(client.end_put(&body).expect("a response").status, 201);
        }
        drop(held);
        wait_for_end(&old);
        nginx.wait_accelerated(2);
    });
    let new = nginx.workers();
    assert!(new.iter().all(|pid| !old.contains(pid)));
    for number in 0..CONNECTIONS {
        assert!(std::fs::read(site.work.path().join(format!("put/{number}"))).expect("a file") == body);
    }
    // A connection that is idle when its worker ends is closed, as on the kernel.
    assert!(load.good > 200 && load.ended <= 8, "{load:?}");
    let sent = nginx.served(&new, fetch);
    assert!(sent.iter().all(|&bytes| bytes > 0), "each worker has a queue: {sent:?}");
}

#[test]
fn a_new_binary_gets_the_listeners_and_then_the_queues_of_the_old_one() {
    let site = Site::new(2);
    // Only a daemon takes the signal.
    site.write_conf("daemon on; worker_processes 2;", "listen 80;");
    let nginx = site.start("");
    let old = site.wait_accelerated(2, || workers_of(site.master().unwrap_or(0)));
    let master = site.master().expect("a pid file");
    let signal = |signal| kill(Pid::from_raw(master as i32), signal).expect("to signal the master");
    let load = under_load(&site, || {
        std::thread::sleep(Duration::from_millis(300));
        signal(Signal::SIGUSR2);
        wait_until(LIMIT, "the new master", || site.master().is_some_and(|pid| pid != master));
        wait_until(LIMIT, "its workers", || workers_of(site.master().unwrap_or(0)).len() == 2);
        signal(Signal::SIGQUIT);
        wait_for_end(&old);
        std::thread::sleep(Duration::from_millis(300));
    });
    assert!(load.good > 200 && load.ended <= 8, "{load:?}");
    let new = site.wait_accelerated(2, || workers_of(site.master().unwrap_or(0)));
    let sent = nginx.served(&new, fetch);
    assert!(sent.iter().all(|&bytes| bytes > 0), "each worker has a queue: {sent:?}");
}

#[test]
fn a_worker_beyond_the_queues_takes_one_when_its_owner_is_killed() {
    let site = Site::new(2);
    site.write_conf("worker_processes 3;", "listen 80;");
    let nginx = site.start("");
    let first = nginx.wait_accelerated(2);
    site.wait_for_line("the kernel serves until one is free");
    assert_eq!(nginx.workers().len(), 3);
    // The connections of the dead one are over; the others go on.
    let load = under_load(&site, || {
        std::thread::sleep(Duration::from_millis(300));
        kill(Pid::from_raw(first[0] as i32), Signal::SIGKILL).expect("to kill a worker");
        wait_until(LIMIT, "another in its place", || {
            nginx.accelerated().into_iter().filter(|pid| *pid != first[0]).count() == 2
        });
        std::thread::sleep(Duration::from_millis(300));
    });
    assert!(load.good > 200 && load.ended <= 8, "{load:?}");
    let workers = nginx.accelerated();
    assert!(workers.contains(&first[1]));
    nginx.served(&workers, fetch);
}

/// Sends 10 MB bodies, reads them back, and returns the bytes sent and received.
fn put_and_get(folder: &str) -> (u64, u64) {
    let body = pattern(LARGE);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(ADDRESS).expect("to connect")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let path = format!("{folder}/{number}");
        assert_eq!(client.put(&path, &body).expect("a response").status, 201);
        let response = client.get(&path).expect("a response");
        assert!(response.status == 200 && response.body == body, "{} bytes", response.body.len());
    }
    end(clients)
}

#[test]
fn large_bodies_go_both_ways() {
    let site = Site::new(2);
    site.write_conf("worker_processes 2;", "listen 80;");
    let nginx = site.start("");
    let workers = nginx.wait_accelerated(2);
    nginx.served(&workers, || put_and_get("/put"));
}

#[test]
fn tls_goes_through_the_stack() {
    let site = Site::new(2);
    let make =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout tls.key -out tls.crt";
    Program::new("sh").args(&["-c", make]).run(&site.server, &site.work, LIMIT).good();
    let folder = site.work.path().display();
    let keys = format!("ssl_certificate {folder}/tls.crt; ssl_certificate_key {folder}/tls.key;");
    site.write_conf("worker_processes 2;", &format!("listen 443 ssl http2; {keys}"));
    let nginx = site.start("");
    let workers = nginx.wait_accelerated(2);
    let (before, kernel) = (nginx.sent_by(&workers), KernelTcp::of(&site.server));
    for number in 0..8 {
        let (name, out) = if number == 7 { ("large", LARGE) } else { ("small", SMALL) };
        let address = format!("https://{}/{name}", ADDRESS.ip());
        let version = if number % 2 == 0 { "--http1.1" } else { "--http2" };
        Program::new("curl")
            .args(&["-sS", "--insecure", version, "-o", "got", &address])
            .run(&site.client, &site.work, LIMIT)
            .good();
        assert!(std::fs::read(site.work.path().join("got")).expect("a file") == pattern(out));
    }
    assert_eq!(KernelTcp::of(&site.server), kernel, "the kernel handled segments");
    let sent: u64 = nginx.sent_by(&workers).iter().zip(&before).map(|(after, before)| after - before).sum();
    let payload = (LARGE + 7 * SMALL) as u64;
    assert!((payload..payload + payload / 20).contains(&sent), "{sent} bytes for {payload}");
}

#[test]
fn a_proxy_without_all_queues_connects_through_the_kernel_and_says_so_once() {
    let site = Site::new(2);
    let upstream = site.start_upstream();
    upstream.wait_accelerated(1);
    site.write_conf("worker_processes 2;", "listen 80; location / { proxy_pass http://10.77.0.2:9000; }");
    let nginx = site.start("strict = false\nconnect = ['10.77.0.2:9000']");
    let workers = nginx.wait_accelerated(2);
    let before = nginx.sent_by(&workers);
    let (_, received) = site.client.within(fetch);
    let sent: u64 = nginx.sent_by(&workers).iter().zip(&before).map(|(after, before)| after - before).sum();
    assert_eq!(sent, received, "the clients' side is the stack's");
    let log = site.log();
    assert_eq!(log.matches("10.77.0.2:9000 stays with the kernel").count(), 2, "one line for each worker");
}

#[test]
fn a_proxy_is_accelerated_on_both_sides_and_so_is_its_upstream() {
    let site = Site::new(1);
    let upstream = site.start_upstream();
    let behind = upstream.wait_accelerated(1);
    site.write_conf(
        "worker_processes 1;",
        "listen 80; location / { proxy_pass http://10.77.0.2:9000; proxy_http_version 1.1;\n\
         proxy_request_buffering off; proxy_max_temp_file_size 0; }",
    );
    let nginx = site.start("connect = ['10.77.0.2:9000']");
    let workers = nginx.wait_accelerated(1);
    let look = |pid: u32| StackTcp::of(pid).expect("a stack");
    let (before, kernel) = ((look(workers[0]), look(behind[0])), KernelTcp::of(&site.server));
    let (sent, received) = site.client.within(|| {
        let (one, two) = (fetch(), put_and_get("/up"));
        (one.0 + two.0, one.1 + two.1)
    });
    let after = (look(workers[0]), look(behind[0]));
    assert_eq!(KernelTcp::of(&site.server), kernel, "the kernel handled segments");
    let [proxy, upstream] = [(&after.0, &before.0), (&after.1, &before.1)]
        .map(|(after, before)| (after.since(before, "bytes_received"), after.since(before, "bytes_sent")));
    assert_eq!(proxy.0, sent + upstream.1, "what the proxy received came from both sides");
    assert_eq!(proxy.1, received + upstream.0, "what the proxy sent went to both sides");
    assert!(upstream.0 > 4 * LARGE as u64 && upstream.1 > 4 * LARGE as u64, "{upstream:?}");
}
