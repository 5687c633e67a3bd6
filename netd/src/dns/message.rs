//! DNS messages, as far as a server of a few names needs them: one question in, a few records out (RFC 1035).
//!
//! Own code: only the header and the one question are ever read, and compression never is, so there is nothing for a
//! full parser to get wrong; what is forwarded stays raw bytes. Everything read here is hostile.

use std::net::Ipv4Addr;

/// The longest query that is looked at; with EDNS and cookies real ones stay far below.
pub const QUERY_MAX: usize = 1024;
/// Address records.
pub const A: u16 = 1;
/// Pointer records.
pub const PTR: u16 = 12;
/// Everything.
pub const ANY: u16 = 255;
const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const RESPONSE: u8 = 0x80;
const OPCODE: u8 = 0x78;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const RECURSION_AVAILABLE: u8 = 0x80;
const AUTHORITATIVE: u8 = 0x04;
/// Seconds that a container may remember an answer: after them it sees a moved unit.
const TTL: u32 = 5;
/// Records that always fit into 512 bytes beside the longest question.
const RECORDS_MAX: usize = 13;

/// RCODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The name exists.
    NoError = 0,
    /// The query is malformed.
    Malformed = 1,
    /// No upstream answered.
    ServerFailure = 2,
    /// No such name.
    NoSuchName = 3,
    /// An operation other than a query.
    NotImplemented = 4,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An address of the name that was asked for.
    Address(Ipv4Addr),
    /// The name of the address that was asked for: dotted, at most 253 bytes, labels at most 63.
    Pointer(String),
}

/// A query as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    header: [u8; HEADER],
    /// The question section as bytes, for the answer.
    question: Vec<u8>,
    /// Lower case, dotted, without the last dot; empty for the root.
    pub name: String,
    /// QTYPE.
    pub kind: u16,
    /// QCLASS is IN.
    pub internet: bool,
}

impl Query {
    /// Nothing follows the question: no EDNS, so the asker takes 512 bytes over UDP.
    pub fn is_plain(&self) -> bool {
        self.header.last_chunk() == Some(&[0; 2])
    }
}

/// What came is no query that can be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not even worth an answer: too short, or itself an answer.
    Silent,
    /// This answer.
    Answer(Vec<u8>),
}

/// Reads a query.
pub fn parse(bytes: &[u8]) -> Result<Query, Refusal> {
    let header: [u8; HEADER] = *bytes.first_chunk().ok_or(Refusal::Silent)?;
    let [_, _, flags, _, count_high, count_low, ..] = header;
    if flags & RESPONSE != 0 || bytes.len() > QUERY_MAX {
        return Err(Refusal::Silent);
    }
    let refuse = |code| Refusal::Answer(answer_parts(header, &[], code, &[]));
    if flags & OPCODE != 0 {
        return Err(refuse(Code::NotImplemented));
    }
    let question = bytes.get(HEADER..).filter(|_| (count_high, count_low) == (0, 1));
    question.and_then(|question| parse_question(header, question)).ok_or_else(|| refuse(Code::Malformed))
}

fn parse_question(header: [u8; HEADER], bytes: &[u8]) -> Option<Query> {
    let (name, length) = parse_name(bytes)?;
    let question = bytes.get(..length + 4)?;
    let &[kind_high, kind_low, class_high, class_low] = question.last_chunk()?;
    let internet = matches!(u16::from_be_bytes([class_high, class_low]), CLASS_IN | ANY);
    let kind = u16::from_be_bytes([kind_high, kind_low]);
    Some(Query { header, question: question.to_vec(), name, kind, internet })
}

/// A name without compression (a first name has nothing to point at), and its length in bytes.
fn parse_name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length == 0 {
            return Some((name, at + 1));
        }
        let label = bytes.get(at + 1..at + 1 + length).filter(|_| length <= 63 && at + length < 254)?;
        if !name.is_empty() {
            name.push('.');
        }
        // What is no host name cannot be one of ours; a placeholder keeps it from looking like one.
        let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_');
        name.extend(
            label.iter().map(|byte| if plain(byte) { char::from(byte.to_ascii_lowercase()) } else { '?' }),
        );
        at += 1 + length;
    }
}

/// Answers a query.
pub fn answer(query: &Query, code: Code, records: &[Record]) -> Vec<u8> {
    answer_parts(query.header, &query.question, code, records)
}

fn answer_parts(header: [u8; HEADER], question: &[u8], code: Code, records: &[Record]) -> Vec<u8> {
    let [id_high, id_low, flags, ..] = header;
    let records = records.get(..RECORDS_MAX).unwrap_or(records);
    let count = |n: usize| u16::try_from(n).unwrap_or(0).to_be_bytes();
    let mut bytes = vec![id_high, id_low];
    let authority = if code == Code::ServerFailure { 0 } else { AUTHORITATIVE };
    bytes.push(RESPONSE | authority | flags & (OPCODE | RECURSION_DESIRED));
    bytes.push(RECURSION_AVAILABLE | code as u8);
    bytes.extend(count(usize::from(!question.is_empty())));
    bytes.extend(count(records.len()));
    bytes.extend([0; 4]);
    bytes.extend(question);
    for record in records {
        let (kind, data) = match record {
            Record::Address(address) => (A, address.octets().to_vec()),
            Record::Pointer(name) => (PTR, encode_name(name)),
        };
        // The owner is the name at offset 12, that of the question.
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        bytes.extend(TTL.to_be_bytes());
        bytes.extend(count(data.len()));
        bytes.extend(data);
    }
    bytes
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| (1..=63).contains(&label.len())) {
        bytes.extend(u8::try_from(label.len()));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// Whether `reply` is an upstream's answer to the query that we sent under `id`: same number, same question.
pub fn is_reply(reply: &[u8], id: [u8; 2], query: &Query) -> bool {
    let same = |part: &[u8]| {
        // Servers may write the name in other capitals.
        part.eq_ignore_ascii_case(&query.question)
    };
    reply.first_chunk() == Some(&id)
        && reply.get(2).is_some_and(|flags| flags & RESPONSE != 0)
        && reply.get(4..6) == Some(&[0, 1])
        && reply.get(HEADER..HEADER + query.question.len()).is_some_and(same)
}

/// The same message under another number.
pub fn with_id(bytes: &[u8], id: [u8; 2]) -> Vec<u8> {
    id.iter().chain(bytes.iter().skip(2)).copied().collect()
}

/// The number of a query.
pub fn id(query: &Query) -> [u8; 2] {
    let [high, low, ..] = query.header;
    [high, low]
}

/// A reply cut to what a client takes over UDP: the header and question, with the TC bit; it will ask over TCP.
pub fn truncated(reply: &[u8], query: &Query) -> Vec<u8> {
    let mut bytes: Vec<u8> = reply.iter().take(HEADER + query.question.len()).copied().collect();
    if let Some(flags) = bytes.get_mut(2) {
        *flags |= TRUNCATED;
    }
    if let Some(counts) = bytes.get_mut(6..HEADER) {
        counts.fill(0);
    }
    bytes
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A query as a resolver writes it, number 0x1234, recursion desired.
    pub fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        bytes.extend(encode_name(name));
        bytes.extend(kind.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        bytes
    }

    #[test]
    fn a_query_is_read_and_answered() {
        let query = parse(&query("Web.Apps.internal", A)).unwrap();
        assert_eq!((query.name.as_str(), query.kind, query.internet), ("web.apps.internal", A, true));
        let bytes = answer(&query, Code::NoError, &[Record::Address(Ipv4Addr::new(10, 88, 0, 2))]);
        let expect = [
            &[0x12, 0x34, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0][..],
            b"\x03Web\x04Apps\x08internal\0\0\x01\0\x01",
            &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 88, 0, 2],
        ]
        .concat();
        assert_eq!(bytes, expect);
    }

    #[test]
    fn malformed_queries_are_refused() {
        let whole = query("web", A);
        for length in 0..HEADER {
            assert_eq!(parse(&whole[..length]), Err(Refusal::Silent));
        }
        for length in HEADER..whole.len() {
            assert!(matches!(parse(&whole[..length]), Err(Refusal::Answer(_))), "{length}");
        }
        let patched = |at: usize, value: u8| {
            let mut bytes = whole.clone();
            bytes[at] = value;
            parse(&bytes)
        };
        assert_eq!(patched(2, 0x81), Err(Refusal::Silent), "an answer");
        assert!(matches!(patched(2, 0x28), Err(Refusal::Answer(_))), "an update");
        assert!(matches!(patched(5, 2), Err(Refusal::Answer(_))), "two questions");
        assert!(matches!(patched(12, 0xc0), Err(Refusal::Answer(_))), "a pointer");
        assert_eq!(parse(&vec![0; QUERY_MAX + 1]), Err(Refusal::Silent));
        let long = format!("{}x", "abcdefg.".repeat(40));
        assert!(matches!(parse(&query(&long, A)), Err(Refusal::Answer(_))), "too long");
    }

    #[test]
    fn strange_labels_never_look_like_ours() {
        let mut bytes = query("aab", A);
        bytes[14] = b'.';
        assert_eq!(parse(&bytes).unwrap().name, "a?b");
    }

    #[test]
    fn every_answer_fits_into_512_bytes() {
        let long = [&"a".repeat(63)[..], &"b".repeat(63), &"c".repeat(63), &"d".repeat(50)].join(".");
        let query = parse(&query(&long, A)).unwrap();
        let many = vec![Record::Address(Ipv4Addr::LOCALHOST); 1000];
        assert!(answer(&query, Code::NoError, &many).len() <= 512);
    }

    #[test]
    fn only_the_reply_to_our_question_counts() {
        let query = parse(&query("example.org", A)).unwrap();
        let reply = with_id(&answer(&query, Code::NoError, &[]), [9, 9]);
        assert!(is_reply(&reply, [9, 9], &query));
        assert!(!is_reply(&reply, [9, 8], &query));
        let other = parse(&self::query("example.net", A)).unwrap();
        assert!(!is_reply(&reply, [9, 9], &other));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300), flags in 0..2_u8) {
            // Mostly a header that passes, so that the question is looked at.
            let mut framed = vec![1, 2, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            framed.extend(&bytes);
            drop(parse(&bytes));
            if let Ok(query) = parse(&framed) {
                let answered = answer(&query, Code::NoError, &[]);
                prop_assert!(answered.len() <= 12 + 255 + 4 && is_reply(&answered, [1, 2], &query));
            }
        }
    }
}
