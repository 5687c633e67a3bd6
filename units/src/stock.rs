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
    let images = declared.units.values().filter_map(|unit| Some((unit, &unit.image.as_ref()?.reference)));
    images.filter(|(_, image)| !has(image)).map(|(unit, image)| no_image(unit, image, files)).collect()
}

/// At the place of the reference, where the unit's own file or its template has it.
fn no_image(unit: &Unit, image: &Reference, files: &BTreeMap<String, String>) -> Diagnostic {
    let name = unit.name.as_str();
    let stem = name.split_once('@').map_or(name.to_owned(), |(stem, _)| format!("{stem}@"));
    let path = format!("{stem}.toml");
    let text = files.get(&path).map_or("", String::as_str);
    let span = find_reference(text).unwrap_or(0..0);
    let (line, column) = line_column(text, span.start);
    Diagnostic {
        code: NO_IMAGE,
        severity: Severity::Error,
        path,
        span,
        line,
        column,
        message: format!("the node has no image '{image}', which unit '{name}' runs"),
        label: None,
        related: Vec::new(),
        help: Some("images come with the OS image: add its archive to images/ and build anew".to_owned()),
    }
}

fn find_reference(text: &str) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let image = table.get_ref().get("image")?.get_ref().as_table()?;
    Some(image.get("ref")?.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SourceFile, parse_set};

    #[test]
    fn an_absent_image_is_shown_where_it_is_named() {
        let text = "schema = 1\n[image]\nref = \"shop/web:2\"\n".to_owned();
        let files: BTreeMap<_, _> = [("web.toml".to_owned(), text.clone())].into();
        let declared = parse_set(&[SourceFile { path: "web.toml".into(), text }]).declared.unwrap();
        assert_eq!(absent_images(&declared, &files, |_| true), []);
        let found = absent_images(&declared, &files, |_| false);
        assert_eq!(
            found[0].to_string(),
            "web.toml:3:7: error[BU0504]: the node has no image 'docker.io/shop/web:2', which unit 'web' runs"
        );
        // What a drop-in says is not looked for.
        assert_eq!(absent_images(&declared, &BTreeMap::new(), |_| false)[0].line, 1);
    }
}
