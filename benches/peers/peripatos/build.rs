//! Processes by the thousand: none of them needs the megabyte of stack that is usual.

fn main() {
    println!("cargo:rustc-link-arg=-zstack-size=32768");
}
