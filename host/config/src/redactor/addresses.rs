//! Addresses of private networks in a text.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use memchr::memchr;

use crate::{count, endpoint};

use super::span;

/// In bytes: a word of hexadecimal digits, the longest IPv6 address, and a port.
const LONGEST_RUN: usize = 64;
/// Maximum number of positions in a run at which an address may begin: one for each group, and a
/// few before it.
const MOST_STARTS: usize = 12;

/// Finds the IPv4 addresses in private networks, with their ports.
pub(super) fn v4(text: &[u8], found: &mut impl FnMut(Range<usize>)) {
    const LONGEST: usize = "255.255.255.255".len();
    count(text.len());
    let mut from = 0;
    while let Some(start) = text[from..].iter().position(u8::is_ascii_digit) {
        let start = from + start;
        from = start + span(&text[start..], |byte| byte.is_ascii_digit() || byte == b'.');
        let dots = text[start..from].iter().rev().take_while(|byte| **byte == b'.').count();
        let end = from - dots;
        // A longer run is no address, and is not copied or parsed.
        let address = (end - start <= LONGEST).then(|| parse::<Ipv4Addr>(&text[start..end]));
        if address.flatten().is_some_and(endpoint::is_private_v4) {
            found(start..end + port(&text[end..]));
        }
    }
}

/// Finds the IPv6 addresses in private networks and those `configured`, with and without brackets,
/// zone and port.
pub(super) fn v6(text: &[u8], configured: &BTreeSet<IpAddr>, found: &mut impl FnMut(Range<usize>)) {
    let is_secret = |address: Ipv6Addr| {
        endpoint::is_private_v6(address) || configured.contains(&IpAddr::V6(address))
    };
    count(text.len());
    let mut from = 0;
    while let Some(colon) = memchr(b':', &text[from..]).map(|at| from + at) {
        let before = text[from..colon].iter().rev().take_while(|byte| is_part(**byte)).count();
        let start = colon - before;
        let end = colon + span(&text[colon..], is_part);
        count(end - start);
        if let Some(address) = address(text, start..end, is_secret) {
            found(around(text, address));
        }
        from = end;
    }
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}

/// The secret address within a run of digits, colons and dots. It may follow a word and a colon,
/// and a colon or a port may follow it.
fn address(
    text: &[u8],
    run: Range<usize>,
    is_secret: impl Fn(Ipv6Addr) -> bool,
) -> Option<Range<usize>> {
    let is_word =
        |at: usize| text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let dots = text[run.clone()].iter().rev().take_while(|byte| **byte == b'.').count();
    let end = run.end - dots;
    if end - run.start > LONGEST_RUN || is_word(end) {
        return None;
    }
    let mut start = run.start;
    for _ in 0..MOST_STARTS {
        let rest = &text[start..end];
        let last = rest.iter().rposition(|byte| *byte == b':')?;
        if start == 0 || !is_word(start - 1) {
            count(2 * rest.len());
            // Parse the whole, then without the last group, which may be a port or empty.
            let both = [rest.len(), last].map(|length| (length, parse(&rest[..length])));
            let parsed =
                || both.into_iter().filter_map(|(length, address)| Some((length, address?)));
            if let Some((length, _)) =
                parsed().find(|(length, address)| *length > 2 && is_secret(*address))
            {
                return Some(start..start + length);
            }
            // A part of a public address does not count as a private address.
            if parsed().next().is_some() {
                return None;
            }
        }
        // Next try behind the next colon, or at it if it may be the first of two.
        let colon = rest.iter().position(|byte| *byte == b':')?;
        start += colon.max(1);
    }
    None
}

/// An address with its zone, its brackets and the port behind them.
fn around(text: &[u8], Range { mut start, mut end }: Range<usize>) -> Range<usize> {
    if text.get(end) == Some(&b'%') {
        let zone = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~".contains(&byte);
        end += 1 + span(&text[end + 1..], zone);
    }
    if start > 0 && text[start - 1] == b'[' && text.get(end) == Some(&b']') {
        start -= 1;
        end += 1;
        end += port(&text[end..]);
    }
    start..end
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The length of `:8000` at the start of a text.
fn port(text: &[u8]) -> usize {
    let digits = span(text.get(1..).unwrap_or_default(), |byte| byte.is_ascii_digit());
    if text.first() == Some(&b':') && digits > 0 { 1 + digits } else { 0 }
}
