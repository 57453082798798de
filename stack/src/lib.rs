//! Devices, steering, neighbours, workers and sockets: everything between a
//! socket call and a frame on the wire. See `ARCHITECTURE.md`.

pub mod device;
pub mod packet;
