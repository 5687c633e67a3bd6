//! Mutations without feedback: what a run of the tests can afford.

/// Words that readers of text look for.
const WORDS: [&str; 24] = [
    "schema = 1\n",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "=",
    ".",
    ",",
    "\n",
    "#file node.toml\n",
    "#file x@.toml\n",
    "-9223372036854775808",
    "18446744073709551616",
    "1e999",
    "\\u0000",
    "true",
    "\"\"\"",
    "[[",
    "../",
    "\0",
    "é",
    "\u{2028}",
];

/// Makes new inputs of old ones. The same seed makes the same inputs.
#[derive(Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// Begins at that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// xorshift64 (Marsaglia, 2003).
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % below.max(1)
    }

    /// One of the inputs, changed in one to eight places.
    pub fn mutate(&mut self, inputs: &[&str]) -> Vec<u8> {
        let pick = |mutator: &mut Self| {
            inputs.get(mutator.next(inputs.len())).copied().unwrap_or_default().as_bytes()
        };
        let mut bytes = pick(self).to_vec();
        for _ in 0..=self.next(8) {
            let (from, to) = (self.next(bytes.len() + 1), self.next(bytes.len() + 1));
            let (from, to) = (from.min(to), from.max(to));
            let new = match self.next(6) {
                0 => Vec::new(),
                1 => vec![u8::try_from(self.next(256)).unwrap_or(0)],
                2 => WORDS.get(self.next(WORDS.len())).copied().unwrap_or_default().into(),
                3 => bytes.get(from..to).unwrap_or_default().repeat(2),
                4 => {
                    let other = pick(self);
                    let (a, b) = (self.next(other.len() + 1), self.next(other.len() + 1));
                    other.get(a.min(b)..a.max(b)).unwrap_or_default().to_vec()
                }
                _ => bytes.get(from..to).unwrap_or_default().iter().rev().copied().collect(),
            };
            let end = if self.next(2) == 0 { from } else { to.min(from + self.next(16)) };
            bytes.splice(from..end, new);
        }
        bytes
    }
}
