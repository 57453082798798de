use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::*;

/// The configuration of a text, or the error's text without the path.
fn read(text: &str) -> Result<Config, String> {
    let file = TempFile::new(text.as_bytes());
    parse_file(&file.0).map_err(|error| strip(&error, &file.0))
}

fn strip(error: &ConfigError, path: &Path) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{}:", path.display())).unwrap_or(&text).to_owned()
}

fn error(text: &str) -> String {
    read(text).expect_err("must be refused")
}

/// A file of its own that goes away with the value.
struct TempFile(PathBuf);

impl TempFile {
    fn new(bytes: &[u8]) -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tpa-config-{}-{number}.conf", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn environment(variables: &[(&'static str, &str)], places: &[&Path]) -> Result<Option<Config>, ConfigError> {
    let variables: HashMap<_, _> =
        variables.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
    let places: Vec<PathBuf> = places.iter().map(|path| path.to_path_buf()).collect();
    load_with(|name| variables.get(name).cloned(), &places)
}

#[test]
fn an_empty_file_is_the_default_and_accelerates_nothing() {
    let config = read("").unwrap();
    assert_eq!(config, Config::default());
    assert!(!Policy::new(&config).concerns("redis-server"));
}

#[test]
fn every_top_level_option_is_read() {
    let config = read(
        r#"
        listen = [6379, "10.0.0.1:7000-7010"]
        connect = ["10.0.0.0/8:6379", "*:80"]
        programs = ["redis-*"]
        strict = true
        device = "af_xdp:eth0"
        address = "192.168.77.1/24"
        gateway = "192.168.77.254"
        address6 = "fd00::1/64"
        gateway6 = "fe80::1"
        workers = 2
        spin_us = 0
        [[rule]]
        programs = ["nginx"]
        listen = [443]
        action = "kernel"
        "#,
    )
    .unwrap();
    assert_eq!(config.listen, ["6379".parse().unwrap(), "10.0.0.1:7000-7010".parse().unwrap()]);
    assert_eq!(config.connect, ["10.0.0.0/8:6379".parse().unwrap(), "80".parse().unwrap()]);
    assert!(config.strict);
    assert_eq!(config.device, DeviceSpec::AfXdp(Some("eth0".parse().unwrap())));
    assert_eq!(config.address.unwrap().prefix_len(), 24);
    assert_eq!(config.gateway, Some("192.168.77.254".parse().unwrap()));
    assert_eq!(config.address6.unwrap().prefix_len(), 64);
    assert_eq!(config.gateway6, Some("fe80::1".parse().unwrap()));
    assert_eq!((config.workers, config.spin_us), (2, 0));
    assert_eq!(config.rules[0].action, RuleAction::Kernel);
}

#[test]
fn what_is_printed_reads_back_the_same() {
    let config =
        read("listen = [6379]\naddress = '10.1.0.1/16'\ngateway = '10.1.0.9'\n[[rule]]\nlisten = [80]\n");
    let config = config.unwrap();
    assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn errors_name_the_place_and_what_was_meant() {
    for (text, expected) in [
        ("\nlisten = [6379]\nstrickt = true", "3:1: unknown key 'strickt', did you mean 'strict'?"),
        ("[memif]\nsockett = 1\n", "2:1: unknown key 'sockett', did you mean 'socket'?"),
        (
            "[memif]\ncolour = 1\n",
            "2:1: unknown key 'colour'; allowed: socket, role, id, secret, buffer_size, ring_size, connect_wait_ms",
        ),
        ("[memif]\nrole = \"sever\"", "2:8: unknown value 'sever', did you mean 'server'?"),
        ("[memif]\nrole = \"a\"", "2:8: unknown value 'a'; allowed: server, client"),
        ("listen = [\"6379\", 70000]", "1:19: '70000' is not a port; a port is a number from 1 to 65535"),
        ("listen = [0]", "1:11: '0' is not a port; a port is a number from 1 to 65535"),
        ("listen = [\"9-5\"]", "1:11: '9-5' is not a range of ports; did you mean '5-9'?"),
        ("listen = [\"host:80\"]", "1:11: 'host' is not an IP address; names are not looked up"),
        (
            "listen = [\"fd00::1:80\"]",
            "1:11: 'fd00::1:80' is ambiguous; write an IPv6 address in brackets, as in '[fd00::1]:80'",
        ),
        ("listen = [\"[fd00::g]:80\"]", "1:11: '[fd00::g]' is not an IP address; names are not looked up"),
        ("address6 = \"fd00::1\"", "1:12: 'fd00::1' names no prefix; write it as 'fd00::1/64', say"),
        ("address6 = \"10.0.0.1/8\"", "1:12: 10.0.0.1/8 is an IPv4 address: set 'address'"),
        ("address = \"fd00::1/64\"", "1:11: fd00::1/64 is an IPv6 address: set 'address6'"),
        (
            "address6 = \"fd00::1/64\"\ngateway6 = \"fd01::1\"",
            "2:12: fd01::1 is not on the network of fd00::1/64",
        ),
        ("listen = 6379", "1:10: invalid type: integer `6379`, expected a sequence"),
        ("connect = [\"10.0.0.0/8\"]", "1:12: '10.0.0.0/8' names no port; write it as '10.0.0.0/8:PORT'"),
        (
            "connect = [\"10.0.0.1/8:80\"]",
            "1:12: '10.0.0.1/8' has bits set beyond its prefix; did you mean '10.0.0.0/8'?",
        ),
        (
            "connect = [\"10.0.0.0/33:80\"]",
            "1:12: '10.0.0.0/33' is not a network such as '10.0.0.0/8' or '[fd00::/8]'",
        ),
        (
            "programs = [\"/usr/bin/x\"]",
            "1:13: '/usr/bin/x' is not a program's name; write it without its folder",
        ),
        ("strict = 1", "1:10: invalid type: integer `1`, expected a boolean"),
        ("workers = 65", "1:11: invalid value: integer `65`, expected an integer from 1 to 64"),
        ("workers = -1", "1:11: invalid value: integer `-1`, expected an integer from 1 to 64"),
        ("workers = \"two\"", "1:11: invalid type: string \"two\", expected an integer from 1 to 64"),
        ("device = \"afxdp\"", "1:10: unknown device 'afxdp', did you mean 'af_xdp'?"),
        (
            "device = \"e1000\"",
            "1:10: unknown device 'e1000'; allowed: auto, none, af_xdp, memif, mlx5, af_packet",
        ),
        ("device = \"memif:eth0\"", "1:10: device 'memif' takes no interface"),
        ("device = \"af_xdp:a/b\"", "1:10: 'a/b' cannot be the name of a network interface"),
        ("device = \"memif\"", "1:10: a memif device has no address of the kernel's: set 'address'"),
        ("address = \"10.0.0.1\"", "1:11: '10.0.0.1' names no prefix; write it as '10.0.0.1/24', say"),
        ("address = \"10.0.0.1/40\"", "1:11: '10.0.0.1/40' has a prefix that is not from 0 to 32"),
        ("gateway = \"10.0.0.1\"", "1:11: 'gateway' needs 'address' beside it"),
        (
            "address = \"10.0.0.1/24\"\ngateway = \"10.0.1.1\"",
            "2:11: 10.0.1.1 is not on the network of 10.0.0.1/24",
        ),
        ("[af_xdp]\nqueues = 0", "2:10: '0' is neither \"auto\" nor \"all\" nor a number from 1 to 64"),
        ("[memif]\nring_size = 1000", "2:13: 1000 is not a power of two; near are 512 and 1024"),
        (
            "[tcp]\nrto_min_ms = 5000\nrto_max_ms = 4000",
            "2:14: 5000 is more than 'rto_max_ms', which is 4000",
        ),
        (
            "[[rule]]\nlisten = [80]\naction = \"drop\"",
            "3:10: unknown value 'drop'; allowed: accelerate, kernel",
        ),
        (
            "[fault]\nspec = 'rx: drp=1%'",
            "2:8: fault plan: unknown fault 'drp'; there are drop, burst, nth, dup, reorder, delay, corrupt, truncate, cut, and port, seed, for",
        ),
        ("listen = [6379", "1:15: unclosed array, expected `]`"),
        ("listen = []\nlisten = []", "2:1: duplicate key"),
    ] {
        assert_eq!(error(text), expected, "for {text:?}");
    }
}

#[test]
fn a_text_that_is_not_utf8_is_an_error_with_its_place() {
    let file = TempFile::new(b"strict = true\nprograms = ['\xff']\n");
    let error = parse_file(&file.0).unwrap_err();
    assert_eq!(strip(&error, &file.0), "2:14: the text is not UTF-8");
}

#[test]
fn any_cut_of_a_file_is_read_or_refused_without_a_panic() {
    let text = include_str!("../../../conf/tpa.conf").replace("\n#", "\n");
    for end in (0..text.len()).filter(|&end| text.is_char_boundary(end)).step_by(7) {
        let _ = toml::from_str::<Config>(&text[..end]);
    }
}

#[test]
fn the_first_file_that_is_there_is_taken() {
    let first = TempFile::new(b"listen = [1]");
    let second = TempFile::new(b"listen = [2]");
    let nowhere = Path::new("/nonexistent/tpa.conf");
    let ports = |places: &[&Path]| environment(&[], places).unwrap().unwrap().listen[0].to_string();
    assert_eq!(ports(&[&first.0, &second.0]), "1");
    assert_eq!(ports(&[nowhere, &second.0]), "2");
}

#[test]
fn nothing_anywhere_is_no_configuration() {
    assert_eq!(environment(&[], &[Path::new("/nonexistent/tpa.conf")]).unwrap(), None);
}

#[test]
fn a_named_file_that_is_absent_is_an_error() {
    let error = environment(&[("TPA_CONF", "/nonexistent/tpa.conf")], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nonexistent/tpa.conf: cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn an_empty_tpa_conf_means_no_file() {
    let file = TempFile::new(b"listen = [1]");
    assert_eq!(environment(&[("TPA_CONF", "")], &[&file.0]).unwrap(), None);
}

#[test]
fn the_environment_stands_above_the_file() {
    let file = TempFile::new(b"listen = [1]\nconnect = [2]\nworkers = 3");
    let variables =
        [("TPA_LISTEN", "6379, 7000-7010,10.0.0.1:80"), ("TPA_STRICT", "1"), ("TPA_DEVICE", "af_xdp:eth0")];
    let config = environment(&variables, &[&file.0]).unwrap().unwrap();
    assert_eq!(config.listen.len(), 3);
    assert_eq!(config.connect, ["2".parse().unwrap()]);
    assert!(config.strict);
    assert_eq!(config.device.to_string(), "af_xdp:eth0");
    assert_eq!(config.workers, 3);
}

#[test]
fn wrong_variables_are_named() {
    for (name, value, expected) in [
        ("TPA_LISTEN", "6379,x", "TPA_LISTEN: 'x' is not a port; a port is a number from 1 to 65535"),
        (
            "TPA_CONNECT",
            "10.0.0.0/8",
            "TPA_CONNECT: '10.0.0.0/8' names no port; write it as '10.0.0.0/8:PORT'",
        ),
        ("TPA_STRICT", "maybe", "TPA_STRICT: 'maybe' is neither true nor false"),
        ("TPA_DEVICE", "memfi", "TPA_DEVICE: unknown device 'memfi', did you mean 'memif'?"),
        ("TPA_DEVICE", "memif", "TPA_DEVICE: a memif device has no address of the kernel's: set 'address'"),
    ] {
        assert_eq!(environment(&[(name, value)], &[]).unwrap_err().to_string(), expected);
    }
}

fn policy(text: &str) -> Policy {
    Policy::new(&read(text).unwrap())
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn listeners_match_by_port_range_and_address() {
    let policy = policy("listen = [6379, '10.0.0.1:7000-7010']");
    let reason = |address| policy.decide_listen("redis-server", at(address)).reason;
    assert_eq!(reason("0.0.0.0:6379"), Reason::Pending);
    assert_eq!(reason("10.0.0.9:6379"), Reason::Pending);
    assert_eq!(reason("10.0.0.1:7010"), Reason::Pending);
    assert_eq!(reason("10.0.0.1:7011"), Reason::NoRule);
    assert_eq!(reason("10.0.0.2:7000"), Reason::NoRule);
    assert_eq!(reason("0.0.0.0:7000"), Reason::NoRule);
}

#[test]
fn connections_match_by_network_and_port() {
    let policy = policy("connect = ['10.0.0.0/8:6379', '192.0.2.7:80', 443]");
    let reason = |address| policy.decide_connect("curl", at(address)).reason;
    assert_eq!(reason("10.255.0.1:6379"), Reason::Pending);
    assert_eq!(reason("10.255.0.1:6380"), Reason::NoRule);
    assert_eq!(reason("11.0.0.1:6379"), Reason::NoRule);
    assert_eq!(reason("192.0.2.7:80"), Reason::Pending);
    assert_eq!(reason("192.0.2.8:80"), Reason::NoRule);
    assert_eq!(reason("198.51.100.1:443"), Reason::Pending);
}

#[test]
fn a_listening_rule_says_nothing_of_connections() {
    let policy = policy("listen = [6379]");
    assert_eq!(policy.decide_connect("redis-cli", at("10.0.0.1:6379")).reason, Reason::NoRule);
}

#[test]
fn ipv6_sockets_match_like_others() {
    let policy =
        policy("listen = [80, '[fd00::1]:7000-7010']\nconnect = ['[fd00::/8]:6379', '[2001:db8::1]:80']");
    let listen = |address| policy.decide_listen("x", at(address)).reason;
    assert_eq!(listen("[::]:80"), Reason::Pending);
    assert_eq!(listen("[fd00::1]:7005"), Reason::Pending);
    assert_eq!(listen("[::]:7005"), Reason::NoRule);
    assert_eq!(listen("10.0.0.1:7005"), Reason::NoRule);
    let connect = |address| policy.decide_connect("x", at(address)).reason;
    assert_eq!(connect("[fd12::9]:6379"), Reason::Pending);
    assert_eq!(connect("[2001:db8::1]:80"), Reason::Pending);
    assert_eq!(connect("[2001:db8::2]:80"), Reason::NoRule);
    assert_eq!(connect("10.0.0.1:6379"), Reason::NoRule);
}

#[test]
fn loopback_and_link_local_addresses_stay_with_the_kernel() {
    let policy = policy("listen = [6379]\nconnect = ['127.0.0.0/8:6379', 80]");
    assert_eq!(policy.decide_listen("x", at("127.0.0.1:6379")).reason, Reason::Loopback);
    assert_eq!(policy.decide_connect("x", at("127.0.0.1:6379")).reason, Reason::Loopback);
    assert_eq!(policy.decide_listen("x", at("[::1]:6379")).reason, Reason::Loopback);
    assert_eq!(policy.decide_listen("x", at("[::1]:6380")).reason, Reason::NoRule);
    assert_eq!(policy.decide_listen("x", at("[fe80::1]:6379")).reason, Reason::LinkLocal);
    assert_eq!(policy.decide_connect("x", at("[fe80::1]:80")).reason, Reason::LinkLocal);
    assert_eq!(policy.decide_connect("x", at("[::1]:6379")).reason, Reason::NoRule);
}

#[test]
fn with_loopback_the_rules_hold_for_it_too() {
    let policy = policy("loopback = true\nlisten = [6379]\nconnect = ['127.0.0.0/8:6379']");
    assert_eq!(policy.decide_listen("x", at("127.0.0.1:6379")).reason, Reason::Pending);
    assert_eq!(policy.decide_connect("x", at("127.0.0.9:6379")).reason, Reason::Pending);
    assert_eq!(policy.decide_connect("x", at("127.0.0.1:6380")).reason, Reason::NoRule);
}

#[test]
fn without_a_device_there_must_be_loopback() {
    assert!(error("device = 'none'").contains("set 'loopback = true' beside it"));
    assert!(error("device = 'none:eth0'\nloopback = true").contains("device 'none' takes no interface"));
    assert!(
        error("device = 'none'\nloopback = true\naddress = '10.0.0.1/8'")
            .contains("addresses are the kernel's")
    );
    assert_eq!(read("device = 'none'\nloopback = true").unwrap().device, DeviceSpec::None);
}

#[test]
fn programs_are_chosen_by_glob() {
    let policy = policy("listen = [6379]\nprograms = ['redis-*']");
    assert_eq!(policy.decide_listen("redis-server", at("0.0.0.0:6379")).reason, Reason::Pending);
    assert_eq!(policy.decide_listen("bash", at("0.0.0.0:6379")).reason, Reason::Program);
    assert!(policy.concerns("redis-server"));
    assert!(!policy.concerns("bash"));
}

#[test]
fn servers_that_fork_for_each_connection_are_the_kernels_and_clients_of_that_name_are_not() {
    let policy = policy("listen = [5432]\nconnect = [5432]");
    assert_eq!(policy.decide_listen("postgres", at("0.0.0.0:5432")).reason, Reason::Forks);
    assert_eq!(policy.decide_listen("postgres", at("0.0.0.0:5433")).reason, Reason::NoRule);
    assert_eq!(policy.decide_listen("pgbouncer", at("0.0.0.0:5432")).reason, Reason::Pending);
    assert_eq!(policy.decide_connect("postgres", at("10.0.0.1:5432")).reason, Reason::Pending);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let policy = policy(
        "listen = ['1-65535']\n\
         [[rule]]\nlisten = [22]\naction = 'kernel'\n\
         [[rule]]\nprograms = ['nginx']\nlisten = [80]\naction = 'kernel'\n",
    );
    let reason = |program, address| policy.decide_listen(program, at(address)).reason;
    assert_eq!(reason("sshd", "0.0.0.0:22"), Reason::KernelRule);
    assert_eq!(reason("nginx", "0.0.0.0:80"), Reason::KernelRule);
    assert_eq!(reason("haproxy", "0.0.0.0:80"), Reason::Pending);
}

#[test]
fn a_rule_that_leaves_all_to_the_kernel_concerns_no_program() {
    assert!(!policy("[[rule]]\nlisten = [80]\naction = 'kernel'").concerns("nginx"));
}

/// Keys of a table, those of tables in it as `table.key`.
fn keys(table: &toml::Table, before: &str, into: &mut Vec<String>) {
    for (key, value) in table {
        let name = format!("{before}{key}");
        let first = value.as_array().and_then(|items| items.first());
        match value.as_table().or_else(|| first?.as_table()) {
            Some(table) => keys(table, &format!("{name}."), into),
            None => into.push(name),
        }
    }
    into.sort();
}

#[test]
fn the_commented_file_is_the_default() {
    assert_eq!(read(include_str!("../../../conf/tpa.conf")).unwrap(), Config::default());
}

#[test]
fn the_commented_file_shows_every_option_and_each_is_right() {
    // An option is commented out by "#" directly before it, prose by "# ".
    let uncommented: String = include_str!("../../../conf/tpa.conf")
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n"
        })
        .collect();
    read(&uncommented).unwrap();

    let full = Config {
        address: Some("10.0.0.1/24".parse().unwrap()),
        gateway: Some("10.0.0.2".parse().unwrap()),
        address6: Some("fd00::1/64".parse().unwrap()),
        gateway6: Some("fd00::2".parse().unwrap()),
        rules: vec![Rule::default()],
        memif: Memif { secret: Some("x".to_owned()), ..Memif::default() },
        ..Config::default()
    };
    let (mut shown, mut known) = (Vec::new(), Vec::new());
    keys(&uncommented.parse().unwrap(), "", &mut shown);
    keys(&toml::to_string(&full).unwrap().parse().unwrap(), "", &mut known);
    assert_eq!(shown, known);
}

#[test]
fn the_examples_are_right() {
    for (text, device) in [
        (include_str!("../../../conf/examples/af_xdp.conf"), "af_xdp"),
        (include_str!("../../../conf/examples/memif-server.conf"), "memif"),
        (include_str!("../../../conf/examples/memif-client.conf"), "memif"),
        (include_str!("../../../conf/examples/mlx5.conf"), "mlx5"),
        (include_str!("../../../conf/examples/af_packet.conf"), "af_packet"),
    ] {
        let config = read(text).unwrap();
        assert!(config.device.to_string().starts_with(device));
        assert!(Policy::new(&config).concerns("redis-server"));
    }
}

#[test]
fn congestion_control_goes_by_our_names_and_linuxs() {
    let named =
        |name: &str| read(&format!("[tcp]\ncongestion = \"{name}\"")).map(|config| config.tcp.congestion);
    assert_eq!(named("cubic"), Ok(Congestion::Cubic));
    assert_eq!(named("newreno"), Ok(Congestion::NewReno));
    assert_eq!(named("reno"), Ok(Congestion::NewReno));
    assert_eq!(named("dctcp"), Ok(Congestion::Dctcp));
    assert!(named("bbr").unwrap_err().contains("cubic"));
    assert_eq!(read("[tcp]\necn = \"on\"").unwrap().tcp.ecn, Ecn::On);
}

#[test]
fn a_preset_changes_defaults_and_nothing_that_is_set() {
    let lan = read("[tcp]\npreset = 'lan'").unwrap().tcp;
    assert_eq!((lan.rto_min_ms, lan.delayed_ack_ms, lan.time_wait_s), (5, 2, 2));
    assert_eq!((lan.sndbuf_max, lan.syn_retries), (Tcp::default().sndbuf_max, 6));
    let wan = read("[tcp]\npreset = 'wan'\nrcvbuf_max = 1000000").unwrap().tcp;
    assert_eq!((wan.sndbuf_max, wan.rcvbuf_max, wan.keepalive_s), (32 << 20, 1_000_000, 240));
    let set = read("[tcp]\nrto_min_ms = 200\npreset = 'lan'\nkeepalive_probes = 9").unwrap().tcp;
    assert_eq!((set.rto_min_ms, set.keepalive_probes, set.keepalive_interval_s), (200, 9, 10));
}

#[test]
fn linuxs_preset_changes_nothing() {
    assert_eq!(read("[tcp]\npreset = 'linux'").unwrap(), Config::default());
}

#[test]
fn a_preset_keeps_a_peers_delayed_ack_below_its_own_timeout() {
    let lan = read("[tcp]\npreset = 'lan'").unwrap().tcp;
    assert!(lan.delayed_ack_ms < lan.rto_min_ms);
}

#[test]
fn a_preset_against_an_option_is_a_contradiction() {
    assert_eq!(
        error("[tcp]\npreset = 'wan'\nsndbuf = 33554433"),
        "3:10: 33554433 is more than 'sndbuf_max', which is 33554432"
    );
    assert_eq!(error("[tcp]\npreset = 'wam'"), "2:10: unknown value 'wam', did you mean 'wan'?");
}

#[test]
fn a_configuration_with_a_preset_reads_back_the_same_when_printed() {
    let config = read("[tcp]\npreset = 'lan'\nretries = 7").unwrap();
    assert_eq!(read(&toml::to_string(&config).unwrap()).unwrap(), config);
}
