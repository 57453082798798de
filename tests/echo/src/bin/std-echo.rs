//! Echo by `std::net`: a thread for each connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use tpa_echo::{Asking, Outcome, Task, compare, payload, task};

fn serve(port: u16) -> Outcome<()> {
    for stream in TcpListener::bind(("0.0.0.0", port))?.incoming() {
        let stream = stream?;
        thread::spawn(move || io::copy(&mut &stream, &mut &stream));
    }
    Ok(())
}

fn ask(asking: Asking) -> Outcome<()> {
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..asking.connections).map(|number| scope.spawn(move || ask_one(asking, number))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

fn ask_one(asking: Asking, number: u64) -> Outcome<()> {
    let sent = payload(number, asking.bytes);
    let stream = TcpStream::connect(asking.server)?;
    thread::scope(|scope| {
        let sender =
            scope.spawn(|| (&stream).write_all(&sent).and_then(|()| stream.shutdown(Shutdown::Write)));
        let mut received = Vec::new();
        (&stream).read_to_end(&mut received)?;
        sender.join().expect("no panic")?;
        compare(number, &sent, &received)
    })
}

fn main() -> Outcome<()> {
    match task()? {
        Task::Serve(port) => serve(port),
        Task::Ask(asking) => ask(asking),
    }
}
