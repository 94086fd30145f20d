//! Bytes that a stranger may have made: the checks of the fuzz targets `datagram`, `message` and `packet`, on some thousands of inputs.

mod bytes;
mod datagram;
mod message;
mod packet;

const INPUTS: usize = 20_000;

#[test]
fn datagrams_are_refused_or_lived_with() {
    bytes::each(&datagram::valid(), INPUTS, datagram::check);
}

#[test]
fn messages_are_refused_or_lived_with() {
    bytes::each(&message::valid(), INPUTS, message::check);
}

#[test]
fn packets_are_refused_or_lived_with() {
    bytes::each(&packet::valid(), INPUTS, packet::check);
}
