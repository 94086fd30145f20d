//! Rust's standard library: collections, sorting, formatting, traits behind pointers, big strings, threads
//! refused in good order; on request a panic or an exit from the depth.
//!
//! usage: rust_std [panic | exit CODE]

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;

trait Shape {
    fn doubled_area(&self) -> u64;
}
struct Square(u64);
struct Triangle(u64, u64);
impl Shape for Square {
    fn doubled_area(&self) -> u64 {
        2 * self.0 * self.0
    }
}
impl Shape for Triangle {
    fn doubled_area(&self) -> u64 {
        self.0 * self.1
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["panic"] => descend(10, &|| panic!("asked to")),
        ["exit", code] => descend(10, &|| std::process::exit(code.parse().unwrap_or(1))),
        _ => everything(),
    }
}

#[inline(never)]
fn descend(depth: u32, action: &dyn Fn()) {
    if depth == 0 { action() } else { descend(depth - 1, action) }
}

fn everything() {
    // The hasher is seeded at random; what is printed must not depend on its order.
    let mut counts: HashMap<String, u32> = HashMap::new();
    for i in 0..5000_u32 {
        *counts.entry(format!("key{}", i * i % 997)).or_default() += i;
    }
    let sorted: BTreeMap<&str, u32> = counts.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let fold = sorted.iter().fold(0_u64, |hash, (key, value)| {
        hash.wrapping_mul(31).wrapping_add(u64::from(*value) + key.len() as u64)
    });
    println!("map {} {fold:016x}", sorted.len());

    let mut numbers: Vec<u64> = (0..20_000_u64).map(|i| i * 7919 % 20_011).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let found = numbers.binary_search_by(|n| 777_u64.cmp(n)).is_ok();
    println!("sorted {} {} {found}", numbers[0], numbers[19_999]);

    let shapes: Vec<Box<dyn Shape>> = (1..100)
        .map(|i| {
            if i % 3 == 0 {
                Box::new(Square(i)) as Box<dyn Shape>
            } else {
                Box::new(Triangle(i, i + 1))
            }
        })
        .collect();
    println!("shapes {}", shapes.iter().map(|shape| shape.doubled_area()).sum::<u64>());

    let mut queue: VecDeque<u32> = (1..=41).collect();
    while queue.len() > 1 {
        queue.rotate_left(2 % queue.len());
        queue.pop_front();
    }
    println!("survivor {:?}", queue.front());

    let mut text = String::new();
    for i in 0..2000 {
        let _ = write!(text, "{i:>5}|{:<8.3}|", f64::from(i) / 7.0);
    }
    println!("text {} {}", text.len(), text.bytes().map(u64::from).sum::<u64>());

    match std::thread::Builder::new().spawn(|| ()) {
        Ok(_) => println!("thread started"),
        Err(_) => println!("thread refused"),
    }
}
