//! Units put together from their files: own file, drop-ins, instances of a template.
//!
//! What is more special is laid over what is more general: `_all.d`, then a template's `NAME@.d`, then an instance's
//! own file, then the unit's `NAME.d`.

use std::collections::BTreeMap;

use toml::de::DeTable;

use super::layer::{self, Layer};
use super::sort::{ALL, NODE, Sorted, sort};
use super::template::{fill_in, instances};
use super::{FILE_MAX, FILES_MAX, SourceFile, parse_header, text};
use crate::Name;
use crate::codes::{FILE_TOO_LARGE, ORPHAN, TEMPLATE, TOO_MANY_FILES};
use crate::fault::{FAULTS_MAX, Fault, Layout, Place, clip};
use crate::finish;
use crate::keys::{self, ConfigDraft, ContainerDraft, NetworkDraft, NodeDraft, SecretDraft};
use crate::nearest::nearest;
use crate::resolve::{Body, Origin, Parsed};
use crate::spec::Volume;
use crate::walk::{Spans, walk};

/// Every unit of the files, and the node.
pub(super) fn assemble(files: &[SourceFile], layout: &Layout, faults: &mut Vec<Fault>) -> Parsed {
    let sorted = sort(files, layout, faults);
    let mut layers = BTreeMap::new();
    let indices =
        sorted.drop_ins.iter().flat_map(|(owner, files)| files.iter().map(move |file| (owner, *file)));
    for (owner, index) in indices.map(|(owner, file)| (owner.as_str(), file)) {
        let Some(file) = files.get(index) else { continue };
        let layer = layer::read(layout.start(index), file, faults);
        layers.insert(index, if owner == ALL { layer.map(Layer::general) } else { layer });
    }
    for index in sorted.instances.values() {
        let Some(file) = files.get(*index) else { continue };
        layers.insert(*index, layer::read(layout.start(*index), file, faults));
    }
    let mut assembly = Assembly { files, layout, sorted: &sorted, layers, parsed: Parsed::default(), faults };
    assembly.node();
    assembly.units();
    assembly.templates();
    assembly.check_owners();
    assembly.parsed
}

struct Assembly<'a, 't> {
    files: &'t [SourceFile],
    layout: &'a Layout,
    sorted: &'a Sorted,
    /// What is laid over units, by file; none where it cannot be used.
    layers: BTreeMap<usize, Option<Layer<'t>>>,
    parsed: Parsed,
    faults: &'a mut Vec<Fault>,
}

/// A unit while it is put together.
#[derive(Clone)]
struct Sheet<'t> {
    /// Where its own file begins.
    start: usize,
    kind: &'static str,
    table: DeTable<'t>,
    /// Length of all its texts.
    bytes: usize,
}

impl<'t> Assembly<'_, 't> {
    fn node(&mut self) {
        let Some(file) = self.sorted.node else { return };
        let start = self.layout.start(file);
        let mut draft = NodeDraft::default();
        let mut origin = Origin { spans: Spans::new(start) };
        let sheet = self.open(file, "node");
        if let Some(sheet) = sheet.and_then(|sheet| self.lay_over(sheet, self.sorted.drop_ins(NODE))) {
            let (spans, mut flaws) = walk(&keys::NODE, start, &sheet.table, &mut draft);
            origin = Origin { spans };
            self.faults.append(&mut flaws);
        }
        self.parsed.node = finish::node(draft, &origin, self.faults);
        self.parsed.node_origin = Some(origin);
    }

    fn units(&mut self) {
        for (name, file) in &self.sorted.units {
            // A unit can hold more faults than anybody reads, and a set many such units.
            let before = self.faults.len();
            let sheet = self.open(*file, "container").and_then(|sheet| self.dress(sheet, &[name.as_str()]));
            let unit = self.read(sheet, *file, name);
            self.parsed.units.insert(name.clone(), unit);
            self.faults.truncate(before + FAULTS_MAX);
        }
    }

    fn templates(&mut self) {
        for (base, file) in &self.sorted.templates {
            let sheet = self.open(*file, "container");
            let Some(sheet) = sheet.and_then(|sheet| self.dress(sheet, &[&format!("{base}@")])) else {
                self.parsed.broken_templates.insert(base.clone());
                continue;
            };
            if !["container", "service"].contains(&sheet.kind) {
                let place =
                    sheet.table.get("kind").map_or(self.layout.file(*file), |kind| Place(kind.span()));
                let message = format!("a {} cannot be a template", sheet.kind);
                self.faults
                    .push(Fault::error(TEMPLATE, place, message).help("only containers and services can"));
                self.parsed.broken_templates.insert(base.clone());
                continue;
            }
            let mut names = instances(base, &sheet.table, self.faults);
            let own = self.sorted.instances.keys();
            names.extend(own.filter(|name| name.parts().is_some_and(|(of, _)| of == base.as_str())).cloned());
            if names.is_empty() {
                self.check_template(&sheet, *file, base);
            }
            for name in names {
                self.instance(&sheet, *file, &name);
            }
        }
    }

    fn instance(&mut self, template: &Sheet<'t>, file: usize, name: &Name) {
        if self.parsed.units.len() >= FILES_MAX {
            let place = self.layout.file(file);
            let message = format!("a set has at most {FILES_MAX} units");
            return self.faults.push(Fault::error(TOO_MANY_FILES, place, message));
        }
        let before = self.faults.len();
        let own: Vec<usize> = self.sorted.instances.get(name).copied().into_iter().collect();
        let sheet = self.lay_over(template.clone(), &own);
        let sheet = sheet.and_then(|sheet| self.lay_over(sheet, self.sorted.drop_ins(name.as_str())));
        let sheet = sheet.map(|mut sheet| {
            let instance = name.parts().map_or("", |(_, instance)| instance);
            fill_in(&mut sheet.table, name.as_str(), instance);
            sheet
        });
        let unit = self.read(sheet, file, name);
        self.parsed.units.insert(name.clone(), unit);
        self.faults.truncate(before + FAULTS_MAX);
    }

    /// A template without instances makes no unit, but its faults count.
    fn check_template(&mut self, template: &Sheet<'t>, file: usize, base: &Name) {
        let any = Name::parse_plain("x").and_then(|instance| Name::instance_of(base, &instance));
        let name = any.unwrap_or_else(|_| base.clone());
        let mut sheet = template.clone();
        fill_in(&mut sheet.table, name.as_str(), "x");
        let before = self.faults.len();
        drop(self.read(Some(sheet), file, &name));
        self.faults.truncate(before + FAULTS_MAX);
    }

    /// A unit's own file.
    fn open(&mut self, file: usize, default: &'static str) -> Option<Sheet<'t>> {
        let start = self.layout.start(file);
        let source = self.files.get(file)?;
        let table = text::parse(start, &source.text, self.faults)?;
        let kind = parse_header(&table, default, self.faults)?;
        Some(Sheet { start, kind, table, bytes: source.text.len() })
    }

    /// Lays over what is meant for all containers, then the drop-ins of these owners.
    fn dress(&mut self, sheet: Sheet<'t>, owners: &[&str]) -> Option<Sheet<'t>> {
        let all = self.sorted.drop_ins(ALL).iter().filter(|_| sheet.kind == "container");
        let own = owners.iter().flat_map(|owner| self.sorted.drop_ins(owner));
        let files: Vec<usize> = all.chain(own).copied().collect();
        self.lay_over(sheet, &files)
    }

    /// The sheet with these files over it; none when one of them cannot be used.
    fn lay_over(&mut self, mut sheet: Sheet<'t>, files: &[usize]) -> Option<Sheet<'t>> {
        for file in files {
            let layer = self.layers.get(file)?.as_ref()?;
            sheet.bytes += layer.bytes;
            // What is laid over many units is read for each of them: so a set costs no more than its files may have.
            if sheet.bytes > FILE_MAX {
                let message = format!("a unit with its drop-ins has at most {FILE_MAX} bytes");
                self.faults.push(Fault::error(FILE_TOO_LARGE, self.layout.file(*file), message));
                return None;
            }
            layer.lay_over(&mut sheet.table, self.faults);
        }
        Some(sheet)
    }

    fn read(&mut self, sheet: Option<Sheet<'t>>, file: usize, name: &Name) -> (Origin, Body) {
        match sheet {
            Some(sheet) => read(&sheet, name, self.faults),
            None => (Origin { spans: Spans::new(self.layout.start(file)) }, Body::Broken),
        }
    }

    /// What belongs to a unit that does not exist would silently do nothing.
    fn check_owners(&mut self) {
        for (owner, files) in &self.sorted.drop_ins {
            if self.has(owner) {
                continue;
            }
            for file in files {
                let message = format!("there is no unit '{}' for this drop-in", clip(owner));
                let fault = Fault::error(ORPHAN, self.layout.file(*file), message);
                let fault = self.hint(owner, fault);
                self.faults.push(fault);
            }
        }
        for (name, file) in &self.sorted.instances {
            let base = name.parts().and_then(|(base, _)| Name::parse_plain(base).ok());
            if let Some(base) = base.filter(|base| !self.sorted.templates.contains_key(base)) {
                let message = format!("there is no template '{base}@' for this instance");
                let fault = Fault::error(ORPHAN, self.layout.file(*file), message);
                self.faults.push(fault.help(format!("add {base}@.toml")));
            }
        }
    }

    fn has(&self, owner: &str) -> bool {
        match (owner, owner.strip_suffix('@')) {
            (ALL, _) => true,
            (NODE, _) => self.sorted.node.is_some(),
            (_, Some(base)) => self.sorted.templates.contains_key(base),
            (_, None) => Name::parse(owner).is_ok_and(|name| {
                let of_broken =
                    name.parts().is_some_and(|(base, _)| self.parsed.broken_templates.contains(base));
                of_broken || self.parsed.units.contains_key(&name)
            }),
        }
    }

    fn hint(&self, owner: &str, fault: Fault) -> Fault {
        if let Some((base, instance)) = owner.split_once('@')
            && self.sorted.templates.contains_key(base)
        {
            return fault.help(format!("add \"{}\" to the instances of {base}@.toml", clip(instance)));
        }
        match nearest(owner, self.parsed.units.keys().map(Name::as_str)) {
            Some(near) => fault.help(format!("did you mean '{near}.d'?")),
            None => fault.help("the files in NAME.d are laid over the unit NAME"),
        }
    }
}

/// Reads what a unit came to along the key table of its kind.
fn read(sheet: &Sheet<'_>, name: &Name, faults: &mut Vec<Fault>) -> (Origin, Body) {
    let Sheet { start, table, .. } = sheet;
    let (spans, body, mut flaws) = match sheet.kind {
        "container" => {
            let mut draft = ContainerDraft::new(name.clone());
            let (spans, mut flaws) = walk(&keys::CONTAINER, *start, table, &mut draft);
            faults.append(&mut flaws);
            let origin = Origin { spans };
            let unit = finish::container(draft, &origin, faults);
            return (origin, Body::Container(Box::new(unit)));
        }
        "network" => {
            let mut draft = NetworkDraft::default();
            let (spans, flaws) = walk(&keys::NETWORK, *start, table, &mut draft);
            (spans, Body::Network(draft), flaws)
        }
        "volume" => {
            let mut draft = Volume::default();
            let (spans, flaws) = walk(&keys::VOLUME, *start, table, &mut draft);
            (spans, Body::Volume(draft), flaws)
        }
        "config" => {
            let mut draft = ConfigDraft::default();
            let (spans, mut flaws) = walk(&keys::CONFIG, *start, table, &mut draft);
            faults.append(&mut flaws);
            let origin = Origin { spans };
            let config = finish::config(draft, &origin, faults);
            return (origin, Body::Config(config));
        }
        "secret" => {
            let mut draft = SecretDraft::default();
            let (spans, mut flaws) = walk(&keys::SECRET, *start, table, &mut draft);
            faults.append(&mut flaws);
            let origin = Origin { spans };
            let secret = finish::secret(draft, &origin, faults);
            return (origin, Body::Secret(secret));
        }
        "pod" | "service" => {
            let mut draft = ContainerDraft::new(name.clone());
            let is_pod = sheet.kind == "pod";
            let schema = if is_pod { &keys::POD } else { &keys::SERVICE };
            let (spans, mut flaws) = walk(schema, *start, table, &mut draft);
            faults.append(&mut flaws);
            let origin = Origin { spans };
            let finish = if is_pod { finish::pod } else { finish::service };
            let unit = finish(draft, &origin, faults);
            return (origin, Body::Container(Box::new(unit)));
        }
        kind => {
            let planned = keys::PLANNED_KINDS.iter().find(|schema| schema.kind == kind);
            let read = planned.map(|schema| walk(schema, *start, table, &mut ()));
            let (spans, flaws) = read.unwrap_or_else(|| (Spans::new(*start), Vec::new()));
            (spans, Body::Broken, flaws)
        }
    };
    faults.append(&mut flaws);
    (Origin { spans }, body)
}
