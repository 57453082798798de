//! pgbench against a kernel's PostgreSQL, and PostgreSQL itself, which forks for
//! each connection: the kernel's to serve.

use std::path::PathBuf;

use super::{Sides, Who};
use crate::harness::{wait_until, Namespace, Program, Running, Work, PORT};

use super::LIMIT;

/// Debian keeps PostgreSQL's own programs apart, a folder a version.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL").flatten();
    let newest = versions.map(|entry| entry.path()).max().expect("a version of PostgreSQL");
    newest.join("bin").join(name)
}

/// A program as the user that PostgreSQL insists on.
fn as_postgres(name: &str) -> Program {
    let user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"];
    Program::new(tool(name).to_str().expect("UTF-8")).under(&user)
}

/// A server to be started, whose data is in the work folder.
fn postgres(namespace: &Namespace, work: &Work) -> Program {
    let data = work.path().join("data");
    let make = as_postgres("initdb").args(&["--no-sync", "-A", "trust", "-U", "postgres", "-D"]).arg(&data);
    make.run(namespace, work, LIMIT).good();
    let hosts = data.join("pg_hba.conf");
    let lines = std::fs::read_to_string(&hosts).expect("pg_hba.conf");
    std::fs::write(hosts, lines + "host all all 10.0.0.0/8 trust\n").expect("pg_hba.conf");
    let settings = ["-c", "listen_addresses=*", "-c", "fsync=off", "-p", &PORT.to_string(), "-k"];
    as_postgres("postgres").arg("-D").arg(&data).args(&settings).arg(work.path())
}

fn wait_ready(server: &mut Running) {
    wait_until(LIMIT, "PostgreSQL", || {
        assert!(server.status().is_none(), "PostgreSQL has ended\n{}", server.printed());
        server.stderr().contains("ready to accept connections")
    });
}

/// A client's arguments.
fn at(sides: &Sides, program: &str) -> Program {
    let [host, port] = sides.at_server();
    Program::new(tool(program).to_str().expect("UTF-8")).args(&["-h", &host, "-p", &port, "-U", "postgres"])
}

#[test]
fn pgbench_asks_over_af_xdp() {
    let sides = Sides::new(Who::Client);
    let mut server =
        postgres(&sides.stage.client, &sides.stage.work).spawn(&sides.stage.client, &sides.stage.work);
    wait_ready(&mut server);
    sides.through_stack(&server, || {
        sides.run_client(at(&sides, "pgbench").args(&["-i", "-q", "postgres"]));
        let said =
            sides.run_client(at(&sides, "pgbench").args(&["-c", "8", "-j", "2", "-t", "25", "postgres"]));
        assert!(said.contains("actually processed: 200/200"), "{said}");
        let question =
            "select count(*), sum(delta) = (select sum(abalance) from pgbench_accounts) from pgbench_history";
        let said = sides.run_client(at(&sides, "psql").args(&["-Atc", question, "postgres"]));
        assert_eq!(said.trim(), "200|t");
    });
}

#[test]
fn postgresql_is_left_to_the_kernel_and_the_log_says_so() {
    let sides = Sides::new(Who::Server);
    let (server, work) = (&sides.stage.server, &sides.stage.work);
    let program = sides.stage.as_server(postgres(server, work));
    let mut running = program.spawn(server, work);
    wait_ready(&mut running);
    let said = sides.run_client(at(&sides, "psql").args(&["-Atc", "select repeat('x', 100000)", "postgres"]));
    assert_eq!(said.trim(), "x".repeat(100_000));
    assert!(crate::harness::StackTcp::of(running.pid()).is_none(), "PostgreSQL has a stack");
    let log = running.stderr();
    let told = log.lines().filter(|line| line.contains("it forks for each connection")).count();
    assert!(told >= 1, "{log}");
}
