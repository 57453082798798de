//! What a program asks of its accelerated socket is answered as Linux would.

use std::time::Duration;

use crate::harness::{Device, Program, Stage};

const LIMIT: Duration = Duration::from_secs(60);

/// Takes a million bytes, returns half a million, and looks at its socket.
const SERVER: &str = r#"
import socket, struct
TCP = socket.IPPROTO_TCP
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.setsockopt(TCP, socket.TCP_CONGESTION, b'reno')
listener.bind(('', 6379))
listener.listen(5)
c, _ = listener.accept()

def info(length=300):
    return c.getsockopt(TCP, socket.TCP_INFO, length)

def word(at):
    return struct.unpack_from('I', info(), at)[0]

def long(at):
    return struct.unpack_from('Q', info(), at)[0]

first = c.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
assert first >= 131072, first
taken = 0
while taken < 1000000:
    taken += len(c.recv(65536))
c.sendall(b'x' * 500000)
assert c.recv(1) == b'!'

# No kernel's structure is 240 bytes long any more: this one is the stack's.
assert [len(info(n)) for n in (8, 104, 240, 300)] == [8, 104, 240, 240]
state, loss, retransmits, probes, backoff, options = info()[:6]
assert (state, loss, retransmits, probes, backoff) == (1, 0, 0, 0, 0), info()[:6]
assert options & 7 == 7, options
assert word(16) == 1448 and word(20) <= 1460, (word(16), word(20))
assert word(24) == 0, 'nothing is unacknowledged'
assert 0 < word(68) < 1000000, 'rtt'
assert word(80) >= 10, 'cwnd'
IP_MTU = 14
assert word(60) == 1500 == c.getsockopt(socket.IPPROTO_IP, IP_MTU), 'path MTU'
assert long(120) == 500000, 'bytes_acked'
assert long(128) == 1000001, 'bytes_received'
assert word(136) > 345 and word(140) > 100, 'segments'
assert word(144) == 0, 'notsent'
assert word(156) >= 346, 'data segments out'
assert long(160) > 0, 'delivery rate'
assert 0 < long(168) < 60000000, 'busy time'
assert word(192) >= 346, 'delivered'
assert long(200) == 500000 + long(208), 'bytes sent'
assert word(228) > 0 and word(232) > 0, 'windows'

c.setsockopt(TCP, socket.TCP_NOTSENT_LOWAT, 16384)
assert c.getsockopt(TCP, socket.TCP_NOTSENT_LOWAT) == 16384
c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50000)
assert c.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 100000
assert c.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
assert c.getsockopt(TCP, socket.TCP_KEEPIDLE) == 7200
assert c.getsockopt(TCP, socket.TCP_SYNCNT) == 6
assert c.getsockopt(TCP, socket.TCP_LINGER2) == 60
assert listener.getsockopt(TCP, socket.TCP_INFO, 240)[0] == 10

TCP_INQ = 36
c.setsockopt(TCP, TCP_INQ, 1)
c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1000)
c.send(b'go', socket.MSG_MORE)
c.send(b'on')
data, ancillary, _, _ = c.recvmsg(3000, 100)
assert 1000 <= len(data) <= 3000, len(data)
(level, kind, value), = ancillary
assert (level, kind, len(value)) == (TCP, TCP_INQ, 4), ancillary

def algorithm():
    return c.getsockopt(TCP, socket.TCP_CONGESTION, 16).rstrip(b'\0')

assert algorithm() == b'reno', algorithm()
for name in b'cubic', b'dctcp', b'reno':
    c.setsockopt(TCP, socket.TCP_CONGESTION, name)
    assert algorithm() == name, algorithm()
try:
    c.setsockopt(TCP, socket.TCP_CONGESTION, b'no such')
    assert False
except FileNotFoundError:
    assert algorithm() == b'reno'
while c.recv(65536):
    pass
print('good', flush=True)
"#;

const CLIENT: &str = r#"
import socket, sys, time
c = socket.create_connection((sys.argv[1], 6379))
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
c.sendall(b'y' * 1000000)
left = 500000
while left:
    left -= len(c.recv(left))
c.sendall(b'!')
assert c.recv(4, socket.MSG_WAITALL) == b'goon'
for _ in range(10):
    c.sendall(b'z' * 100)
    time.sleep(0.01)
c.sendall(b'z' * 2000)
"#;

#[test]
fn tcp_info_and_its_neighbours_tell_of_the_stacks_connection() {
    let stage = Stage::new(Device::AfXdp);
    let server = stage.serve(Program::new("python3").args(&["-c", SERVER]));
    let client = Program::new("python3").args(&["-c", CLIENT, stage.host()]);
    let client = client.spawn(&stage.client, &stage.work);
    assert!(server.finish(LIMIT).good().contains("good"));
    client.finish(LIMIT).good();
}
