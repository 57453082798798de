//! Whatever else is on an accelerated interface, and clients that are
//! accelerated themselves.

use std::time::Duration;

use crate::harness::{wait_until, Device, KernelTcp, Namespace, Program, Stage, Work};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn ping_and_other_servers_on_the_interface_stay_with_the_kernel() {
    let stage = Stage::new(Device::AfXdp);
    let redis = stage.redis(&[]);
    let web = Program::new("python3").args(&["-m", "http.server", "8000"]);
    let _web = web.in_folder(stage.work.path()).spawn(&stage.server, &stage.work);
    let load = stage.start_benchmark(&["-t", "get", "-n", "200000", "--csv"]);
    let fetch =
        Program::new("curl").args(&["-sS", "-o", "/dev/null", &format!("http://{}:8000/", stage.host())]);
    wait_until(LIMIT, "the web server", || fetch.run(&stage.client, &stage.work, LIMIT).status.success());
    let ping = Program::new("ping").args(&["-c", "5", "-i", "0.2", "-W", "1", stage.host()]);
    let pinged = ping.run(&stage.client, &stage.work, LIMIT).good();
    assert!(pinged.contains(" 0% packet loss"), "{pinged}");
    load.finish(LIMIT).good();
    drop(redis);
}

#[test]
fn a_client_over_af_xdp_reaches_a_server_on_the_kernel() {
    let (server, client) = Namespace::pair("10.77.0.1", "10.77.0.2");
    let work = Work::new();
    let config = work.write("tpa.conf", "strict = true\nconnect = [6379]\ndevice = 'af_xdp:eth0'\n");
    let redis = Program::new("redis-server").args(&["--protected-mode", "no", "--save", ""]);
    let _redis = redis.spawn(&server, &work);
    let cli = Program::new("redis-cli").args(&["-h", "10.77.0.1"]);
    wait_until(LIMIT, "redis to answer", || {
        cli.clone().arg("ping").run(&client, &work, LIMIT).stdout.trim() == "PONG"
    });
    let kernel = KernelTcp::of(&client);
    let set =
        cli.clone().accelerated(&config).args(&["set", "key", "value"]).run(&client, &work, LIMIT).good();
    assert_eq!(set.trim(), "OK");
    let get = cli.accelerated(&config).args(&["get", "key"]).run(&client, &work, LIMIT).good();
    assert_eq!(get.trim(), "value");
    let benchmark =
        Program::new("redis-benchmark").args(&["-h", "10.77.0.1", "-t", "set,get", "-n", "50000", "--csv"]);
    let table = benchmark.accelerated(&config).run(&client, &work, LIMIT).good();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_eq!(KernelTcp::of(&client), kernel, "the client's kernel handled no segment");
}
