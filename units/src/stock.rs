//! Images that a set needs and a node may not have: known only there, so no part of the check of a set.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::DeTable;

use crate::Reference;
use crate::codes::NO_IMAGE;
use crate::diagnostic::{Diagnostic, Severity, line_column};
use crate::spec::{Declared, Unit};

/// A fault for each unit whose image is not there. `files` are the texts of the set by their places.
pub fn absent_images(
    declared: &Declared,
    files: &BTreeMap<String, String>,
    has: impl Fn(&Reference) -> bool,
) -> Vec<Diagnostic> {
    let of = |unit| declared.images(unit).map(move |image| (unit, image));
    let images = declared.units.values().flat_map(of);
    images.filter(|(_, image)| !has(image)).map(|(unit, image)| no_image(unit, image, files)).collect()
}

/// At the place of the reference, where the unit's own file or its template has it.
fn no_image(unit: &Unit, image: &Reference, files: &BTreeMap<String, String>) -> Diagnostic {
    let name = unit.name.as_str();
    let stem = name.split_once('@').map_or(name.to_owned(), |(stem, _)| format!("{stem}@"));
    let path = format!("{stem}.toml");
    let text = files.get(&path).map_or("", String::as_str);
    let span = find_reference(text, image).unwrap_or(0..0);
    let use_of_it = if unit.reference() == Some(image) { "runs" } else { "needs" };
    let (line, column) = line_column(text, span.start);
    Diagnostic {
        code: NO_IMAGE,
        severity: Severity::Error,
        path,
        span,
        line,
        column,
        message: format!("the node has no image '{image}', which unit '{name}' {use_of_it}"),
        label: None,
        related: Vec::new(),
        help: Some("images come with the OS image: add its archive to images/ and build anew".to_owned()),
    }
}

/// Where a file names an image: as the one that runs, or as one that is mounted.
fn find_reference(text: &str, image: &Reference) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let table = table.get_ref();
    let below = |name: &str| table.get(name).and_then(|value| value.get_ref().as_table());
    let mounts = below("mounts").into_iter().flat_map(|mounts| mounts.values());
    let mounted = mounts.filter_map(|mount| mount.get_ref().as_table()?.get("image"));
    let mut named = below("image").and_then(|image| image.get("ref")).into_iter().chain(mounted);
    let is_it = |text: &str| Reference::parse(text).is_ok_and(|named| named == *image);
    named.find(|value| value.get_ref().as_str().is_some_and(is_it)).map(|value| value.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceFile, parse_set};

    #[test]
    fn an_absent_image_is_shown_where_it_is_named() {
        let text = "schema = 1\n[image]\nref = \"shop/web:2\"\n".to_owned();
        let files: BTreeMap<_, _> = [("web.toml".to_owned(), text.clone())].into();
        let declared =
            parse_set(&[SourceFile { path: "web.toml".into(), text: text.clone() }]).declared.unwrap();
        assert_eq!(absent_images(&declared, &files, |_| true), []);
        let found = absent_images(&declared, &files, |_| false);
        assert_eq!(
            found[0].to_string(),
            "web.toml:3:7: error[BU0504]: the node has no image 'docker.io/shop/web:2', which unit 'web' runs"
        );
        let text = format!("{text}[mounts.m]\ntarget = \"/m\"\nimage = \"data:1\"\n");
        let files: BTreeMap<_, _> = [("web.toml".to_owned(), text.clone())].into();
        let declared = parse_set(&[SourceFile { path: "web.toml".into(), text }]).declared.unwrap();
        let found = absent_images(&declared, &files, |image| image.to_string().ends_with("web:2"));
        assert_eq!(
            found[0].to_string(),
            "web.toml:6:9: error[BU0504]: the node has no image 'docker.io/library/data:1', which unit 'web' needs"
        );
        assert_eq!(found.len(), 1);
        // What a drop-in says is not looked for.
        assert_eq!(absent_images(&declared, &BTreeMap::new(), |_| false)[0].line, 1);
    }
}
