//! Echo by tokio, on two threads.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tpa_echo::{Asking, Outcome, Task, compare, payload, task};

async fn serve(port: u16) -> Outcome<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}

async fn ask(asking: Asking) -> Outcome<()> {
    let tasks: Vec<_> = (0..asking.connections).map(|number| tokio::spawn(ask_one(asking, number))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

async fn ask_one(asking: Asking, number: u64) -> Outcome<()> {
    let sent = payload(number, asking.bytes);
    let (mut reader, mut writer) = TcpStream::connect(asking.server).await?.into_split();
    let sender = tokio::spawn({
        let sent = sent.clone();
        async move {
            writer.write_all(&sent).await?;
            writer.shutdown().await
        }
    });
    let mut received = Vec::new();
    reader.read_to_end(&mut received).await?;
    sender.await??;
    compare(number, &sent, &received)
}

fn main() -> Outcome<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_io().build()?;
    match task()? {
        Task::Serve(port) => runtime.block_on(serve(port)),
        Task::Ask(asking) => runtime.block_on(ask(asking)),
    }
}
