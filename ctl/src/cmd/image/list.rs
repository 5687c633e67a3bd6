//! What is in a store, for people and as JSON.

use berth_image::depot::Depot;
use berth_units::wire::image::{Index, StoredImage};
use berth_units::{Reference, human};
use serde_json::{Value, json};

use super::failure;
use crate::failure::Failure;
use crate::output::{Look, print, print_json};
use crate::table::{Cell, Column, draw};

/// `ls`.
pub fn list(depot: &Depot, as_json: bool) -> Result<(), Failure> {
    let index = depot.index().map_err(|error| failure(depot.root(), error))?;
    if as_json {
        let images: Vec<_> = index.images.iter().map(|(name, image)| described(name, image)).collect();
        print_json(&json!({ "images": images }))
    } else {
        print(&table(&index, Look::of_stdout()))
    }
}

/// `inspect`.
pub fn inspect(depot: &Depot, name: &str) -> Result<(), Failure> {
    let (name, image) = depot.find(name).map_err(|error| failure(depot.root(), error))?;
    let mut described = described(&name, &image);
    if let Some(object) = described.as_object_mut() {
        object.insert("config".to_owned(), json!(image.config));
        object.insert("documents".to_owned(), json!(image.documents));
    }
    print_json(&described)
}

fn described(name: &Reference, image: &StoredImage) -> Value {
    let layers = image.made_of.iter().enumerate().map(|(number, layer)| {
        json!({
            "digest": layer.blob, "size": layer.size, "diff_id": layer.diff_id, "unpacked": layer.unpacked,
            "path": image.layers.get(number),
        })
    });
    json!({
        "name": name.to_string(), "digest": image.digest, "size": download(image), "unpacked": image.size,
        "layers": layers.collect::<Vec<_>>(),
    })
}

/// Bytes of the layers as a registry has them.
fn download(image: &StoredImage) -> u64 {
    image.made_of.iter().map(|layer| layer.size).sum()
}

fn table(index: &Index, look: Look) -> String {
    let column = |heading, gives_way| Column { heading, gives_way };
    let columns = [
        column("IMAGE", 0),
        column("DIGEST", 0),
        column("SIZE", 0),
        column("UNPACKED", 2),
        column("LAYERS", 1),
    ];
    let rows: Vec<Vec<Cell>> = index
        .images
        .iter()
        .map(|(name, image)| {
            let short = human::short_digest(&image.digest).to_owned();
            let layers = image.made_of.len().to_string();
            [name.familiar(), short, human::size(download(image)), human::size(image.size), layers]
                .map(Cell::from)
                .to_vec()
        })
        .collect();
    draw(&columns, &rows, look)
}
