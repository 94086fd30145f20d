//! Bytes that claim to be a device request or reply: they are refused or read, and what was read is
//! understood the same when it is said again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peripatos_abi::device::{decode_reply, decode_request, encode_reply, encode_request};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode_request(bytes) {
        let again = encode_request(&request).expect("what was read is within the limits");
        assert_eq!(decode_request(&again).as_ref(), Ok(&request));
    }
    if let Ok(reply) = decode_reply(bytes) {
        let again = encode_reply(&reply).expect("what was read is within the limits");
        assert_eq!(decode_reply(&again).as_ref(), Ok(&reply));
    }
});
