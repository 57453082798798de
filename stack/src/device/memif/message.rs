//! Control messages of memif 2.0, as they cross the Unix socket.
//!
//! Each message is one packet of 128 bytes: a type, then that type's fields
//! without padding, in host byte order, the rest zero. The layout is that of
//! `memif.h` in FD.io's libmemif and in DPDK's memif driver.

use thiserror::Error;

/// Bytes of every control message.
pub const MESSAGE_LEN: usize = 128;
/// Version that we speak: major 2, minor 0.
pub const VERSION: u16 = 0x0200;
/// Bytes of a secret.
pub const SECRET_LEN: usize = 24;
/// Interface mode of Ethernet frames; the only one that we speak.
pub const MODE_ETHERNET: u8 = 0;

const NAME_LEN: usize = 32;
const REASON_LEN: usize = 96;
/// Bit of ADD_RING's flags: the ring carries frames from client to server.
const RING_CLIENT_TO_SERVER: u16 = 1;

/// Wire values of the message types.
mod kind {
    pub const ACK: u16 = 1;
    pub const HELLO: u16 = 2;
    pub const INIT: u16 = 3;
    pub const ADD_REGION: u16 = 4;
    pub const ADD_RING: u16 = 5;
    pub const CONNECT: u16 = 6;
    pub const CONNECTED: u16 = 7;
    pub const DISCONNECT: u16 = 8;
}

/// Server to client, first of all: what the server can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Program behind the server.
    pub name: String,
    /// Lowest version that it speaks.
    pub min_version: u16,
    /// Highest version that it speaks.
    pub max_version: u16,
    /// Highest region index.
    pub max_region: u16,
    /// Highest index of a ring from server to client.
    pub max_s2c_ring: u16,
    /// Highest index of a ring from client to server.
    pub max_c2s_ring: u16,
    /// Largest ring, as the logarithm of its slots.
    pub max_log2_ring_size: u8,
}

/// Client to server: which interface of the server it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// Version that the client chose.
    pub version: u16,
    /// Interface id.
    pub id: u32,
    /// Interface mode; see [`MODE_ETHERNET`].
    pub mode: u8,
    /// Shared secret, zero-padded; all zero for none.
    pub secret: [u8; SECRET_LEN],
    /// Program behind the client.
    pub name: String,
}

/// Direction of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From client to server ("S2M" in the old words).
    ClientToServer,
    /// From server to client ("M2S").
    ServerToClient,
}

/// Client to server, with an eventfd: one more ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddRing {
    /// Way that its frames go.
    pub direction: Direction,
    /// Index among the rings of its direction.
    pub index: u16,
    /// Region that holds it.
    pub region: u16,
    /// Where it begins in the region, in bytes.
    pub offset: u32,
    /// Logarithm of its slots.
    pub log2_size: u8,
    /// Bytes of private metadata before each frame.
    pub private_header: u16,
}

/// One control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Server to client: the last message was taken.
    Ack,
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Init`].
    Init(Init),
    /// Client to server, with the region's descriptor.
    AddRegion {
        /// Index of the region.
        index: u16,
        /// Its bytes.
        size: u64,
    },
    /// See [`AddRing`].
    AddRing(AddRing),
    /// Client to server: all is told, begin.
    Connect {
        /// Name of the client's interface.
        name: String,
    },
    /// Server to client: begun.
    Connected {
        /// Name of the server's interface.
        name: String,
    },
    /// Either way: the end.
    Disconnect {
        /// Error code; in practice 0.
        code: u32,
        /// Reason in words.
        reason: String,
    },
}

/// A packet that is no control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It is not [`MESSAGE_LEN`] bytes long.
    #[error("a message of {0} bytes instead of {MESSAGE_LEN}")]
    Length(usize),
    /// Its type is not one of the protocol's.
    #[error("a message of unknown type {0}")]
    Kind(u16),
}

impl Message {
    /// The message's bytes; text that is too long is cut.
    pub fn encode(&self) -> [u8; MESSAGE_LEN] {
        let mut out = Writer { bytes: [0; MESSAGE_LEN], at: 0 };
        match self {
            Message::Ack => out.u16(kind::ACK),
            Message::Hello(hello) => encode_hello(&mut out, hello),
            Message::Init(init) => encode_init(&mut out, init),
            Message::AddRegion { index, size } => {
                out.u16(kind::ADD_REGION);
                out.u16(*index);
                out.put(&size.to_ne_bytes());
            }
            Message::AddRing(ring) => encode_add_ring(&mut out, ring),
            Message::Connect { name } => {
                out.u16(kind::CONNECT);
                out.text(name, NAME_LEN);
            }
            Message::Connected { name } => {
                out.u16(kind::CONNECTED);
                out.text(name, NAME_LEN);
            }
            Message::Disconnect { code, reason } => {
                out.u16(kind::DISCONNECT);
                out.u32(*code);
                out.text(reason, REASON_LEN);
            }
        }
        out.bytes
    }

    /// Reads a message from a packet.
    pub fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let bytes: &[u8; MESSAGE_LEN] = packet.try_into().map_err(|_| DecodeError::Length(packet.len()))?;
        let mut input = Reader { bytes, at: 0 };
        Ok(match input.u16() {
            kind::ACK => Message::Ack,
            kind::HELLO => Message::Hello(decode_hello(&mut input)),
            kind::INIT => Message::Init(decode_init(&mut input)),
            kind::ADD_REGION => {
                Message::AddRegion { index: input.u16(), size: u64::from_ne_bytes(input.take()) }
            }
            kind::ADD_RING => Message::AddRing(decode_add_ring(&mut input)),
            kind::CONNECT => Message::Connect { name: input.text::<NAME_LEN>() },
            kind::CONNECTED => Message::Connected { name: input.text::<NAME_LEN>() },
            kind::DISCONNECT => Message::Disconnect { code: input.u32(), reason: input.text::<REASON_LEN>() },
            other => return Err(DecodeError::Kind(other)),
        })
    }
}

fn encode_hello(out: &mut Writer, hello: &Hello) {
    out.u16(kind::HELLO);
    out.text(&hello.name, NAME_LEN);
    out.u16(hello.min_version);
    out.u16(hello.max_version);
    out.u16(hello.max_region);
    out.u16(hello.max_s2c_ring);
    out.u16(hello.max_c2s_ring);
    out.put(&[hello.max_log2_ring_size]);
}

fn decode_hello(input: &mut Reader) -> Hello {
    Hello {
        name: input.text::<NAME_LEN>(),
        min_version: input.u16(),
        max_version: input.u16(),
        max_region: input.u16(),
        max_s2c_ring: input.u16(),
        max_c2s_ring: input.u16(),
        max_log2_ring_size: input.u8(),
    }
}

fn encode_init(out: &mut Writer, init: &Init) {
    out.u16(kind::INIT);
    out.u16(init.version);
    out.u32(init.id);
    out.put(&[init.mode]);
    out.put(&init.secret);
    out.text(&init.name, NAME_LEN);
}

fn decode_init(input: &mut Reader) -> Init {
    Init {
        version: input.u16(),
        id: input.u32(),
        mode: input.u8(),
        secret: input.take(),
        name: input.text::<NAME_LEN>(),
    }
}

fn encode_add_ring(out: &mut Writer, ring: &AddRing) {
    out.u16(kind::ADD_RING);
    out.u16(if ring.direction == Direction::ClientToServer { RING_CLIENT_TO_SERVER } else { 0 });
    out.u16(ring.index);
    out.u16(ring.region);
    out.u32(ring.offset);
    out.put(&[ring.log2_size]);
    out.u16(ring.private_header);
}

fn decode_add_ring(input: &mut Reader) -> AddRing {
    let to_server = input.u16() & RING_CLIENT_TO_SERVER != 0;
    AddRing {
        direction: if to_server { Direction::ClientToServer } else { Direction::ServerToClient },
        index: input.u16(),
        region: input.u16(),
        offset: input.u32(),
        log2_size: input.u8(),
        private_header: input.u16(),
    }
}

/// Writes fields one after the other. The longest message, DISCONNECT, takes
/// 102 of the 128 bytes.
struct Writer {
    bytes: [u8; MESSAGE_LEN],
    at: usize,
}

impl Writer {
    fn put(&mut self, field: &[u8]) {
        self.bytes[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
    }

    fn u16(&mut self, value: u16) {
        self.put(&value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.put(&value.to_ne_bytes());
    }

    /// Zero-terminated text in a field of `len` bytes.
    fn text(&mut self, text: &str, len: usize) {
        let shown = text.len().min(len - 1);
        self.bytes[self.at..self.at + shown].copy_from_slice(&text.as_bytes()[..shown]);
        self.at += len;
    }
}

struct Reader<'a> {
    bytes: &'a [u8; MESSAGE_LEN],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        field.copy_from_slice(&self.bytes[self.at..self.at + N]);
        self.at += N;
        field
    }

    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    /// Text up to the first zero byte, whatever its encoding.
    fn text<const N: usize>(&mut self) -> String {
        let field: [u8; N] = self.take();
        let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Message> {
        vec![
            Message::Ack,
            Message::Hello(Hello {
                name: "server".into(),
                min_version: VERSION,
                max_version: VERSION,
                max_region: 15,
                max_s2c_ring: 3,
                max_c2s_ring: 4,
                max_log2_ring_size: 14,
            }),
            Message::Init(Init {
                version: VERSION,
                id: 7,
                mode: MODE_ETHERNET,
                secret: *b"a secret of 24 bytes....",
                name: "client".into(),
            }),
            Message::AddRegion { index: 1, size: 0x1_2345_6789 },
            Message::AddRing(AddRing {
                direction: Direction::ClientToServer,
                index: 2,
                region: 1,
                offset: 0x1234_5678,
                log2_size: 10,
                private_header: 0,
            }),
            Message::Connect { name: "c0".into() },
            Message::Connected { name: "s0".into() },
            Message::Disconnect { code: 3, reason: "closed".into() },
        ]
    }

    #[test]
    fn every_message_survives_the_wire() {
        for message in samples() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn fields_lie_where_the_protocol_puts_them() {
        let [_, hello, init, region, ring, ..] = &samples()[..] else { unreachable!() };
        let hello = hello.encode();
        assert_eq!(&hello[..8], b"\x02\0server");
        assert_eq!(&hello[34..45], &[0, 2, 0, 2, 15, 0, 3, 0, 4, 0, 14]);
        let init = init.encode();
        assert_eq!(&init[..9], &[3, 0, 0, 2, 7, 0, 0, 0, 0]);
        assert_eq!(&init[9..33], b"a secret of 24 bytes....");
        assert_eq!(&init[33..39], b"client");
        assert_eq!(&region.encode()[..12], &[4, 0, 1, 0, 0x89, 0x67, 0x45, 0x23, 1, 0, 0, 0]);
        assert_eq!(&ring.encode()[..15], &[5, 0, 1, 0, 2, 0, 1, 0, 0x78, 0x56, 0x34, 0x12, 10, 0, 0]);
    }

    #[test]
    fn long_text_is_cut_and_stays_terminated() {
        let reason = "x".repeat(200);
        let decoded = Message::decode(&Message::Disconnect { code: 0, reason }.encode());
        assert_eq!(decoded, Ok(Message::Disconnect { code: 0, reason: "x".repeat(REASON_LEN - 1) }));
    }

    #[test]
    fn wrong_length_and_type_are_refused() {
        assert_eq!(Message::decode(&[]), Err(DecodeError::Length(0)));
        assert_eq!(Message::decode(&[1; 127]), Err(DecodeError::Length(127)));
        assert_eq!(Message::decode(&[0; MESSAGE_LEN]), Err(DecodeError::Kind(0)));
        assert_eq!(Message::decode(&[9; MESSAGE_LEN]), Err(DecodeError::Kind(0x0909)));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        for fill in 0..=255u8 {
            for kind in 0..=10u8 {
                let mut bytes = [fill; MESSAGE_LEN];
                bytes[..2].copy_from_slice(&[kind, 0]);
                let _ = Message::decode(&bytes);
            }
        }
    }
}
