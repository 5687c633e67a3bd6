//! nftables objects and expressions as netlink messages: only those that [`super::rules`] uses.
//!
//! Everything is in the table [`TABLE`] of family inet. Register 1 is the scratch register; a key of two or three
//! parts goes into consecutive 32-bit registers from register 8 on (the same storage as register 1). Source:
//! include/uapi/linux/netfilter/nf_tables.h.

use crate::netlink::{F_APPEND, F_CREATE, F_ENSURE, Message};

/// Our only table.
pub const TABLE: &str = "berth";

const SUBSYS_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const NEWSET: u16 = 9;
const GETSET: u16 = 10;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;

const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LEN: u16 = 7;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const SET_IS_MAP: u32 = 8;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
/// A table comment in the user data format of the nft program: type 0, length, text with its NUL.
const COMMENT: u8 = 0;

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
/// 32-bit registers; the first is the beginning of register 1.
const REG_32: u32 = 8;

/// What the nft program calls the parts of a key; it needs them only for printing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// ipv4_addr
    Ipv4,
    /// inet_proto
    Protocol,
    /// inet_service
    Port,
    /// ifname
    Ifname,
}

impl Type {
    fn number(self) -> u32 {
        match self {
            Self::Ipv4 => 7,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Ifname => 41,
        }
    }

    /// In a key every part takes whole 32-bit words.
    fn length(self) -> u32 {
        if self == Self::Ifname { 16 } else { 4 }
    }
}

fn concatenated(types: &[Type]) -> (u32, u32) {
    let number = types.iter().fold(0, |number, part| number << 6 | part.number());
    (number, types.iter().map(|part| part.length()).sum())
}

/// Pads a part of a key to whole words.
pub fn word(bytes: &[u8]) -> Vec<u8> {
    let mut word = bytes.to_vec();
    word.resize(bytes.len().next_multiple_of(4), 0);
    word
}

/// An interface name as a key or register value.
pub fn ifname(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn message(kind: u16, flags: u16, family: u8) -> Message {
    Message::new(SUBSYS_NFTABLES << 8 | kind, flags).put(&[family, 0, 0, 0])
}

fn border(kind: u16) -> Message {
    let [high, low] = SUBSYS_NFTABLES.to_be_bytes();
    Message::new(kind, 0).put(&[0, 0, high, low])
}

/// Puts messages between the marks of a batch: the kernel takes all of them or none.
pub fn batch(messages: Vec<Message>) -> Vec<Message> {
    let mut all = vec![border(BATCH_BEGIN)];
    all.extend(messages);
    all.push(border(BATCH_END));
    all
}

/// Makes the table unless it is there.
pub fn new_table(comment: Option<&str>) -> Message {
    let table = message(NEWTABLE, F_ENSURE, NFPROTO_INET).text(TABLE_NAME, TABLE);
    let Some(comment) = comment else { return table };
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let data: Vec<u8> = [COMMENT, length].into_iter().chain(comment.bytes()).chain([0]).collect();
    table.attr(TABLE_USERDATA, &data)
}

/// Removes the table and all that is in it.
pub fn delete_table() -> Message {
    message(DELTABLE, 0, NFPROTO_INET).text(TABLE_NAME, TABLE)
}

/// Asks for the table; none is ENOENT.
pub fn get_table() -> Message {
    message(GETTABLE, 0, NFPROTO_INET).text(TABLE_NAME, TABLE)
}

/// The comment in the answer to [`get_table`].
pub fn parse_comment(payload: &[u8]) -> Option<String> {
    let (_, data) = crate::netlink::attrs(payload.get(4..)?).find(|(kind, _)| *kind == TABLE_USERDATA)?;
    let [COMMENT, length, text @ ..] = data else { return None };
    let text = text.get(..usize::from(*length))?.strip_suffix(&[0])?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Asks for all chains of the table.
pub fn get_chains() -> Message {
    message(GETCHAIN, 0, NFPROTO_INET).text(CHAIN_TABLE, TABLE)
}

/// Asks for all rules of the table.
pub fn get_rules() -> Message {
    message(GETRULE, 0, NFPROTO_INET).text(RULE_TABLE, TABLE)
}

/// Asks for all sets of the table.
pub fn get_sets() -> Message {
    message(GETSET, 0, NFPROTO_INET).text(SET_TABLE, TABLE)
}

/// Asks for all elements of a set.
pub fn get_elements(set: &str) -> Message {
    message(GETSETELEM, 0, NFPROTO_INET).text(ELEMENTS_TABLE, TABLE).text(ELEMENTS_SET, set)
}

/// A base chain.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// "filter" or "nat".
    pub kind: &'static str,
    /// NF_INET_PRE_ROUTING is 0, LOCAL_IN 1, FORWARD 2, LOCAL_OUT 3, POST_ROUTING 4.
    pub hook: u32,
    /// -100 is dstnat, 0 filter, 100 srcnat.
    pub priority: i32,
    /// What happens at its end.
    pub policy: Verdict,
}

/// NF_DROP and NF_ACCEPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Drop.
    Drop = 0,
    /// Accept.
    Accept = 1,
}

/// Makes a chain.
pub fn new_chain(chain: &Chain) -> Message {
    message(NEWCHAIN, F_CREATE, NFPROTO_INET)
        .text(CHAIN_TABLE, TABLE)
        .text(CHAIN_NAME, chain.name)
        .nest(CHAIN_HOOK, |hook| {
            hook.be32(HOOK_NUMBER, chain.hook).attr(HOOK_PRIORITY, &chain.priority.to_be_bytes())
        })
        .be32(CHAIN_POLICY, chain.policy as u32)
        .text(CHAIN_TYPE, chain.kind)
}

/// Makes a set, or a map when `data` is not empty. `id` tells the sets of a batch apart.
pub fn new_set(name: &str, id: u32, key: &[Type], data: &[Type]) -> Message {
    let (key_type, key_length) = concatenated(key);
    let set = message(NEWSET, F_CREATE, NFPROTO_INET)
        .text(SET_TABLE, TABLE)
        .text(SET_NAME, name)
        .be32(SET_FLAGS, if data.is_empty() { 0 } else { SET_IS_MAP })
        .be32(SET_KEY_TYPE, key_type)
        .be32(SET_KEY_LEN, key_length)
        .be32(SET_ID, id);
    // Strings are in host order, which the nft program would not guess (a note of its own: type, length, value).
    let set = if key == [Type::Ifname] { set.attr(SET_USERDATA, &[0, 4, 1, 0, 0, 0]) } else { set };
    if data.is_empty() {
        return set;
    }
    let (data_type, data_length) = concatenated(data);
    set.be32(SET_DATA_TYPE, data_type).be32(SET_DATA_LEN, data_length)
}

/// Elements in one message: a nested attribute holds 64 KiB, an element at most 64 bytes.
const ELEMENTS_AT_ONCE: usize = 512;

/// Adds elements, each a key and the data of a map (empty for a set).
pub fn new_elements(set: &str, elements: &[(Vec<u8>, Vec<u8>)]) -> Vec<Message> {
    let element = |list: Message, (key, data): &(Vec<u8>, Vec<u8>)| {
        list.nest(LIST_ELEM, |element| {
            let element = element.nest(ELEMENT_KEY, |value| value.attr(DATA_VALUE, key));
            if data.is_empty() {
                element
            } else {
                element.nest(ELEMENT_DATA, |value| value.attr(DATA_VALUE, data))
            }
        })
    };
    let some = |chunk: &[(Vec<u8>, Vec<u8>)]| {
        message(NEWSETELEM, F_CREATE, NFPROTO_INET)
            .text(ELEMENTS_TABLE, TABLE)
            .text(ELEMENTS_SET, set)
            .nest(ELEMENTS_LIST, |list| chunk.iter().fold(list, element))
    };
    elements.chunks(ELEMENTS_AT_ONCE).map(some).collect()
}

/// Appends a rule to a chain.
pub fn new_rule(chain: &str, expressions: &[Expression<'_>]) -> Message {
    message(NEWRULE, F_APPEND, NFPROTO_INET)
        .text(RULE_TABLE, TABLE)
        .text(RULE_CHAIN, chain)
        .nest(RULE_EXPRESSIONS, |list| {
            expressions.iter().fold(list, |list, expression| expression.append(list))
        })
}

/// A step of a rule. One that does not match ends the rule.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression<'a> {
    /// The packet is IPv4.
    IsIpv4,
    /// The packet's destination is an address of the node.
    ToLocal,
    /// Layer 4 protocol.
    IsProtocol(u8),
    /// Loads the name of the incoming interface into the word and the three that follow.
    LoadIifname(u32),
    /// Loads the name of the outgoing interface likewise.
    LoadOifname(u32),
    /// Loads the layer 4 protocol into this word of the key.
    LoadProtocol(u32),
    /// Loads the IPv4 destination into this word of the key.
    LoadDestination(u32),
    /// Loads the destination port into this word of the key.
    LoadPort(u32),
    /// The key begins with these bytes.
    Is(&'a [u8]),
    /// The key does not begin with these bytes.
    IsNot(&'a [u8]),
    /// The IPv4 source lies in this subnet: address and mask.
    FromSubnet([u8; 4], [u8; 4]),
    /// The IPv4 destination lies outside of this subnet: address and mask.
    NotToSubnet([u8; 4], [u8; 4]),
    /// Any of these bits is set in the conntrack state.
    CtState(u32),
    /// Any of these bits is set in the conntrack status.
    CtStatus(u32),
    /// The key is in the set.
    In(&'a str),
    /// Replaces the key by what the map holds for it.
    Map(&'a str),
    /// Rewrites destination address and port by words 0 and 1.
    Dnat,
    /// Rewrites the source address to that of the outgoing interface.
    Masquerade,
    /// Ends.
    Verdict(Verdict),
}

/// conntrack: ct state established.
pub const ESTABLISHED: u32 = 1 << 1;
/// conntrack: ct state related.
pub const RELATED: u32 = 1 << 2;
/// conntrack: ct status dnat (IPS_DST_NAT).
pub const DNAT_STATUS: u32 = 1 << 5;

const META_OIFNAME: u32 = 7;
const META_IIFNAME: u32 = 6;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const CT_STATE: u32 = 0;
const CT_STATUS: u32 = 2;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const FIB_ADDRTYPE: u32 = 3;
const FIB_DADDR: u32 = 2;
const RTN_LOCAL: u32 = 2;

fn register(word: u32) -> u32 {
    if word == 0 { REG_1 } else { REG_32 + word }
}

fn element(list: Message, name: &str, fill: impl FnOnce(Message) -> Message) -> Message {
    list.nest(LIST_ELEM, |element| element.text(EXPR_NAME, name).nest(EXPR_DATA, fill))
}

fn meta(list: Message, key: u32, word: u32) -> Message {
    element(list, "meta", |data| data.be32(1, register(word)).be32(2, key))
}

fn payload(list: Message, base: u32, (offset, length): (u32, u32), word: u32) -> Message {
    element(list, "payload", |data| {
        data.be32(1, register(word)).be32(2, base).be32(3, offset).be32(4, length)
    })
}

fn compare(list: Message, operator: u32, value: &[u8]) -> Message {
    element(list, "cmp", |data| {
        data.be32(1, REG_1).be32(2, operator).nest(3, |nested| nested.attr(DATA_VALUE, value))
    })
}

fn mask(list: Message, bits: &[u8]) -> Message {
    let length = u32::try_from(bits.len()).unwrap_or(0);
    element(list, "bitwise", |data| {
        data.be32(1, REG_1)
            .be32(2, REG_1)
            .be32(3, length)
            .nest(4, |nested| nested.attr(DATA_VALUE, bits))
            .nest(5, |nested| nested.attr(DATA_VALUE, &vec![0; bits.len()]))
    })
}

fn conntrack(list: Message, key: u32, bits: u32) -> Message {
    let loaded = element(list, "ct", |data| data.be32(1, REG_1).be32(2, key));
    compare(mask(loaded, &bits.to_ne_bytes()), CMP_NEQ, &[0; 4])
}

impl Expression<'_> {
    fn append(&self, list: Message) -> Message {
        match *self {
            Self::IsIpv4 => compare(meta(list, META_NFPROTO, 0), CMP_EQ, &[NFPROTO_IPV4]),
            Self::ToLocal => {
                let fib = |data: Message| data.be32(1, REG_1).be32(3, FIB_DADDR).be32(2, FIB_ADDRTYPE);
                compare(element(list, "fib", fib), CMP_EQ, &RTN_LOCAL.to_ne_bytes())
            }
            Self::IsProtocol(number) => compare(meta(list, META_L4PROTO, 0), CMP_EQ, &[number]),
            Self::LoadIifname(word) => meta(list, META_IIFNAME, word),
            Self::LoadOifname(word) => meta(list, META_OIFNAME, word),
            Self::LoadProtocol(word) => meta(list, META_L4PROTO, word),
            Self::LoadDestination(word) => payload(list, BASE_NETWORK, (16, 4), word),
            Self::LoadPort(word) => payload(list, BASE_TRANSPORT, (2, 2), word),
            Self::Is(value) => compare(list, CMP_EQ, value),
            Self::IsNot(value) => compare(list, CMP_NEQ, value),
            Self::FromSubnet(address, bits) => {
                compare(mask(payload(list, BASE_NETWORK, (12, 4), 0), &bits), CMP_EQ, &address)
            }
            Self::NotToSubnet(address, bits) => {
                compare(mask(payload(list, BASE_NETWORK, (16, 4), 0), &bits), CMP_NEQ, &address)
            }
            Self::CtState(bits) => conntrack(list, CT_STATE, bits),
            Self::CtStatus(bits) => conntrack(list, CT_STATUS, bits),
            Self::In(set) => element(list, "lookup", |data| data.text(1, set).be32(2, REG_1)),
            Self::Map(map) => element(list, "lookup", |data| data.text(1, map).be32(2, REG_1).be32(3, REG_1)),
            // Type 1 is destination; registers of address and port.
            Self::Dnat => element(list, "nat", |data| {
                data.be32(1, 1).be32(2, u32::from(NFPROTO_IPV4)).be32(3, REG_1).be32(5, register(1))
            }),
            Self::Masquerade => element(list, "masq", |data| data),
            Self::Verdict(verdict) => element(list, "immediate", |data| {
                data.be32(1, REG_VERDICT).nest(2, |nested| {
                    nested.nest(DATA_VERDICT, |code| code.be32(VERDICT_CODE, verdict as u32))
                })
            }),
        }
    }
}
