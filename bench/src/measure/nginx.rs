//! nginx, one worker process: a file of 1 KiB for wrk's 50 connections.

use std::time::Duration;

use tpa_harness::Program;

use super::{GRACE, Measure};
use crate::check::Look;
use crate::ground::Ground;
use crate::process::child;
use crate::report::Row;
use crate::summary::Better;

const PORT: u16 = 8080;

const BODY: usize = 1024;

/// Requests a second.
pub struct Nginx {
    /// Whether each request takes a connection of its own.
    pub close: bool,
}

impl Measure for Nginx {
    fn name(&self) -> String {
        if self.close { "nginx-close" } else { "nginx-keepalive" }.to_owned()
    }

    fn rows(&self) -> Vec<Row> {
        vec![Row::new(self.name(), "requests/s", Better::Higher)]
    }

    fn port(&self) -> u16 {
        PORT
    }

    fn measure(&self, ground: &Ground, time: Duration) -> Vec<f64> {
        ground.work.write("file", [b'x'; BODY]);
        let config = ground.work.write("nginx.conf", config(ground));
        let nginx = Program::new("nginx").arg("-c").arg(config);
        let master = ground.start(nginx, |master| child(master.pid()).is_some() && ground.listens(PORT));
        let worker = child(master.pid()).expect("it has started its worker");
        ground.wait_for_stack(worker);
        self.load(ground, Duration::from_secs(1));
        let look = Look::at(ground, worker);
        let (rate, requests) = self.load(ground, time);
        look.must_show(requests * BODY as u64, ground, worker);
        vec![rate]
    }
}

impl Nginx {
    /// Requests a second, and how many there were.
    fn load(&self, ground: &Ground, time: Duration) -> (f64, u64) {
        let seconds = format!("{}s", time.as_secs());
        let mut program = Program::new("wrk").args(&["-t", "1", "-c", "50", "-d", &seconds]);
        if self.close {
            program = program.args(&["-H", "Connection: close"]);
        }
        let printed = ground.run(program.arg(format!("http://{}:{PORT}/file", ground.host())), time + GRACE);
        assert!(!printed.contains("Socket errors") && !printed.contains("Non-2xx"), "wrk printed {printed}");
        let rate = word_after(&printed, "Requests/sec:");
        let total = printed.lines().find(|line| line.contains(" requests in "));
        let requests = total.and_then(|line| line.split_whitespace().next()?.parse().ok());
        match (rate.and_then(|word| word.parse().ok()), requests) {
            (Some(rate), Some(requests)) => (rate, requests),
            _ => panic!("wrk printed {printed}"),
        }
    }
}

fn word_after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.split_once(label)?.1.split_whitespace().next()
}

fn config(ground: &Ground) -> String {
    let folder = ground.work.path().display();
    format!(
        "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
         events {{ worker_connections 4096; }}
         http {{
             access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
             client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
             fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
             server {{ listen {PORT} backlog=4096; root {folder}; }}
         }}\n"
    )
}
