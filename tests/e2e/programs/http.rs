//! curl, ab and wrk as clients of Python's http.server.

use super::sides::payload_of;
use super::{Sides, Who};
use crate::harness::{assert_same, noise, Program, Running};

/// Serves the files of its folder, and sends back what it is sent; keep-alive,
/// a thread a connection.
pub const SERVER: &str = "
import http.server
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *what):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(('', 6379), Handler).serve_forever()
";

const SMALL: usize = 1000;
const LARGE: usize = 10_000_000;

struct Web {
    sides: Sides,
    server: Running,
}

impl Web {
    fn new(who: Who) -> Self {
        let sides = Sides::new(who);
        for (name, size) in [("small", SMALL), ("large", LARGE)] {
            sides.stage.work.write(name, noise(size, size as u64));
        }
        let server = sides.serve(Program::new("python3").args(&["-c", SERVER]));
        Self { sides, server }
    }

    fn url(&self, path: &str) -> String {
        let [host, port] = self.sides.at_server();
        format!("http://{host}:{port}/{path}")
    }

    /// Asserts that two files of the work folder are the same.
    fn compare(&self, one: &str, other: &str) {
        let path = |name: &str| self.sides.stage.work.path().join(name);
        assert_same(&path(one), &path(other));
    }

    /// Runs a client, and shows that the server's stack wrote so many bytes at
    /// least and not many more.
    fn run(&self, program: &str, arguments: &[&str], written: usize) -> String {
        let mut said = String::new();
        let payload = self.sides.through_stack(&self.server, || {
            said = self.sides.run_client(Program::new(program).args(arguments));
        });
        if self.sides.who != Who::Client {
            let written = written as u64;
            let most = written + written / 2 + 10_000;
            assert!((written..most).contains(&payload.written), "{program}: {payload:?}, {written}");
        }
        said
    }
}

#[test]
fn curl_fetches_and_posts_files() {
    for who in Who::ALL {
        let web = Web::new(who);
        let (small, large) = (web.url("small"), web.url("large"));
        // Two files over one connection.
        let two = ["-fsS", "-o", "small.got", &small, "-o", "large.got", &large];
        web.run("curl", &two, SMALL + LARGE);
        web.compare("small", "small.got");
        web.compare("large", "large.got");
        let post = ["-fsS", "-H", "Expect:", "--data-binary", "@large", "-o", "large.back", &small];
        web.run("curl", &post, LARGE);
        web.compare("large", "large.back");
    }
}

#[test]
fn ab_loses_no_request() {
    for who in Who::ALL {
        let web = Web::new(who);
        let small = web.url("small");
        // Without keep-alive: http.server does not know HTTP/1.0's.
        let said = web.run("ab", &["-q", "-n", "500", "-c", "20", &small], 500 * SMALL);
        let value = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("ab shows no {name}\n{said}")).trim().to_owned()
        };
        assert_eq!(value("Complete requests"), "500");
        assert_eq!(value("Failed requests"), "0");
        assert_eq!(value("HTML transferred"), format!("{} bytes", 500 * SMALL));
    }
}

#[test]
fn wrk_sees_no_error() {
    for who in Who::ALL {
        let web = Web::new(who);
        let arguments = ["-t", "2", "-c", "20", "-d", "1s", &web.url("small")];
        let said = web.sides.run_client(Program::new("wrk").args(&arguments));
        assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
        let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests: usize = requests.and_then(|(count, _)| count.parse().ok()).expect("wrk's requests");
        assert!(requests > 20, "{said}");
        if who != Who::Client {
            let written = payload_of(&web.server).written;
            assert!(written > (requests * SMALL) as u64, "{written} bytes for {requests} requests");
        }
    }
}
