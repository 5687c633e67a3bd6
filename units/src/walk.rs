//! Walks over the TOML of one file along a key table: every key finds its row, or a fault says why not.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::codes::{ENTRY_NAME, MISSING_KEY, UNKNOWN_KEY, UNSUPPORTED_KEY, WRONG_TYPE};
use crate::fault::{FAULTS_MAX, Fault, Place, clip};
use crate::keys::{Effect, Flaw, Key, Schema, Shape, Text, describe};
use crate::nearest::nearest;

/// Where the keys of a unit stand in the set, by dotted path (`ports.http.host`).
#[derive(Debug)]
pub(crate) struct Spans {
    /// Beginning of the unit's own file.
    start: usize,
    keys: BTreeMap<String, (Range<usize>, Range<usize>)>,
}

impl Spans {
    /// Of a file whose keys nobody knows.
    pub fn new(start: usize) -> Self {
        Self { start, keys: BTreeMap::new() }
    }

    /// The unit as a whole.
    pub fn root(&self) -> Range<usize> {
        self.start..self.start
    }

    /// The key itself; of one that is absent, the nearest table above it.
    pub fn key(&self, path: &str) -> Range<usize> {
        self.find(path).map_or(self.root(), |(key, _)| key.clone())
    }

    /// The value; of a table or an absent key, the same as [`Spans::key`].
    pub fn value(&self, path: &str) -> Range<usize> {
        match self.keys.get(path) {
            Some((_, value)) => value.clone(),
            None => self.key(path),
        }
    }

    /// Whether the file sets the key.
    pub fn has(&self, path: &str) -> bool {
        self.keys.contains_key(path)
    }

    fn find(&self, mut path: &str) -> Option<&(Range<usize>, Range<usize>)> {
        loop {
            match self.keys.get(path) {
                Some(found) => return Some(found),
                None => path = path.rsplit_once('.')?.0,
            }
        }
    }
}

/// Reads a whole unit into a draft; its own file begins at `start`.
pub(crate) fn walk<T>(
    schema: &Schema<T>,
    start: usize,
    table: &DeTable<'_>,
    draft: &mut T,
) -> (Spans, Vec<Fault>) {
    let mut walk = Walk { schema, draft, spans: Spans::new(start), faults: Vec::new() };
    // Of a kind that is planned as a whole the kind itself is refused, not each of its keys.
    let planned = schema.effect == Effect::Planned;
    walk.table(&Level { pattern: "", path: "", entry: "", span: start..start, planned }, table);
    (walk.spans, walk.faults)
}

struct Walk<'w, T: 'static> {
    schema: &'w Schema<T>,
    draft: &'w mut T,
    spans: Spans,
    faults: Vec<Fault>,
}

/// Where the walk stands.
struct Level<'l> {
    /// As in the key table: `mounts.*`.
    pattern: &'l str,
    /// As in the file: `mounts.data`.
    path: &'l str,
    /// What stands for the last `*`: `data`.
    entry: &'l str,
    /// Of the table's key.
    span: Range<usize>,
    /// The table is not carried out yet; that has been said.
    planned: bool,
}

impl<T> Walk<'_, T> {
    fn table(&mut self, level: &Level<'_>, table: &DeTable<'_>) {
        self.report_missing(level, table);
        let entries = self.schema.section(level.pattern).and_then(|section| section.entries.as_ref());
        for (key, value) in table {
            if self.faults.len() >= FAULTS_MAX {
                return;
            }
            let name = key.get_ref().as_ref();
            match entries {
                None => self.child(level, key.span(), name, value),
                Some((kind, open)) => {
                    if let Some(name) = self.entry_name(*kind, key.span(), name) {
                        open(self.draft, &name);
                        let level = Level { entry: &name, span: key.span(), ..*level };
                        self.step(&level, (&join(level.pattern, "*"), &name), key.span(), value);
                    }
                }
            }
        }
    }

    /// A key whose name the schema knows, or not.
    fn child(&mut self, level: &Level<'_>, span: Range<usize>, name: &str, value: &Spanned<DeValue<'_>>) {
        let pattern = join(level.pattern, name);
        let plain = !name.contains(['.', '*']) && !name.is_empty();
        if plain && (self.schema.key(&pattern).is_some() || self.is_table(&pattern)) {
            return self.step(level, (&pattern, name), span, value);
        }
        let place = Place(span);
        let fault = self.unknown(level, name, place);
        self.faults.push(fault);
    }

    /// Takes the value of a key, or goes down into a table.
    fn step(
        &mut self,
        level: &Level<'_>,
        (pattern, name): (&str, &str),
        span: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let path = join(level.path, name);
        self.spans.keys.insert(path.clone(), (span.clone(), value.span()));
        let planned = level.planned || self.schema.effect(pattern) == Effect::Planned;
        if planned && !level.planned {
            self.faults.push(unsupported(name, Place(span.clone())));
        }
        if let Some(key) = self.schema.key(pattern) {
            let flaws = key.take.apply(self.draft, level.entry, value);
            for (span, flaw) in flaws.into_iter().filter(|(_, flaw)| !planned || !flaw.is_unsupported()) {
                let fault = self.flaw(key, &path, span, flaw);
                self.faults.push(fault);
            }
        } else if let DeValue::Table(table) = value.get_ref() {
            self.table(&Level { pattern, path: &path, entry: level.entry, span, planned }, table);
        } else {
            let found = describe(value.get_ref());
            let message = format!("'{}' is a table, not {found}", clip(&path));
            let place = Place(value.span());
            self.faults
                .push(Fault::error(WRONG_TYPE, place, message).help(format!("write [{}]", clip(&path))));
        }
    }

    fn entry_name(&mut self, kind: Text, span: Range<usize>, name: &str) -> Option<String> {
        match kind.parse(name) {
            Ok(name) => Some(name),
            Err(why) => {
                let fault = Fault::error(ENTRY_NAME, Place(span), why.what);
                self.faults.push(match why.help {
                    Some(help) => fault.help(help),
                    None => fault,
                });
                None
            }
        }
    }

    fn unknown(&self, level: &Level<'_>, name: &str, place: Place) -> Fault {
        let fault = Fault::error(UNKNOWN_KEY, place, format!("unknown key '{}'", clip(name)));
        let flat = |path: &&str| path.replace('.', "_") == name;
        if let (Some(path), "") = (self.schema.paths().find(flat), level.pattern) {
            return fault.help(format!("did you mean '{path}'?"));
        }
        if let Some(near) = nearest(name, self.schema.children(level.pattern)) {
            return fault.label(format!("did you mean '{near}'?"));
        }
        // The right key in the wrong table, often because a [table] was begun above it.
        let elsewhere =
            self.schema.paths().find(|path| path.rsplit('.').next() == Some(name) && !path.contains('*'));
        match elsewhere.map(|path| (path, path.rsplit_once('.'))) {
            Some((_, Some((table, _)))) => fault.help(format!("'{name}' belongs in [{table}]")),
            Some((path, None)) => {
                fault.help(format!("'{path}' belongs at the top of the file, above the first [table]"))
            }
            None => match self.known(level.pattern) {
                few if few.len() <= 16 => fault.help(format!("known here: {}", few.join(", "))),
                _ => fault,
            },
        }
    }

    /// Names in the table that this version carries out.
    fn known(&self, table: &str) -> Vec<&'static str> {
        let now = |name: &&str| self.schema.effect(&join(table, name)) == Effect::Now;
        self.schema.children(table).into_iter().filter(now).collect()
    }

    fn is_table(&self, pattern: &str) -> bool {
        self.schema.section(pattern).is_some()
    }

    fn report_missing(&mut self, level: &Level<'_>, table: &DeTable<'_>) {
        let absent = |path: &'static str| {
            let below = match level.pattern {
                "" => path,
                pattern => path.strip_prefix(pattern)?.strip_prefix('.')?,
            };
            let first = below.split('.').next()?;
            // Below a table of named entries nothing is missing: there may be none.
            (first != "*" && !below.contains('*') && table.get(first).is_none()).then_some(below)
        };
        let required = self.schema.keys.iter().copied().flatten().filter(|key| key.required);
        let missing: Vec<_> = required.filter_map(|key| Some((key, absent(key.path)?))).collect();
        for (key, below) in missing {
            let place = Place(level.span.clone());
            let message = match level.path {
                "" => format!("key '{below}' is missing"),
                path => format!("key '{below}' is missing in [{}]", clip(path)),
            };
            self.faults.push(Fault::error(MISSING_KEY, place, message).help(missing_help(key, below)));
        }
    }

    fn flaw(&self, key: &Key<T>, path: &str, span: Range<usize>, flaw: Flaw) -> Fault {
        let place = Place(span);
        match flaw {
            Flaw::Type(found) => {
                let shape = key.take.shape();
                let fault =
                    Fault::error(WRONG_TYPE, place, format!("'{}' takes {shape}, not {found}", clip(path)));
                match (shape, found) {
                    (Shape::Text(_) | Shape::List(_), "a list" | "a table") => fault,
                    (Shape::List(_), "a string") => fault.help("write it in brackets: [\"...\"]"),
                    (Shape::Text(_) | Shape::List(_), _) => fault.help("write it in quotes"),
                    _ => fault,
                }
            }
            Flaw::Value { code, what, help } => {
                let help = help.unwrap_or_else(|| format!("'{}' takes {}", clip(path), key.take.shape()));
                Fault::error(code, place, what).help(help)
            }
        }
    }
}

fn unsupported(name: &str, place: Place) -> Fault {
    Fault::error(UNSUPPORTED_KEY, place, format!("key '{}' is not supported yet", clip(name)))
        .help("take it out; this version of berth would not carry it out")
}

fn missing_help<T>(key: &Key<T>, below: &str) -> String {
    match below {
        "schema" => "begin the file with `schema = 1`".to_owned(),
        "image.ref" => "say which image runs: [image] and ref = \"NAME\"".to_owned(),
        _ => format!("it takes {}", key.take.shape()),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
