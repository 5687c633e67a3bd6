//! Images: import and pull, verification, the stores and the OS image builder.
//!
//! The road of an image: a *source* ([`archive`]) is opened and read as blobs; its manifests ([`manifest`]) say
//! which layers it has; each layer's tar stream becomes a [`tree`] after its digests have been checked
//! ([`layer`]) by [`import`]; the trees of all images together are the *store* ([`store`]), written as one read-only file
//! system image by [`erofs`]. [`build`] adds the kernel and the initrd and is what `berth build` calls.
//!
//! What is pulled ([`registry`]) and what is imported off the node lies in a store that is a folder ([`depot`]).
//!
//! Who has made an image or a bundle is judged by [`signature`]; a [`bundle`] is units, images and an OS in one file.
//!
//! Every byte of a source is hostile. Nothing here needs a privilege, mounts anything, runs another program or
//! writes outside the directory it is given; a layer is never unpacked onto the host, only into an image file.
//! Running images is not done here.
#![forbid(unsafe_code)]

pub mod archive;
pub mod build;
pub mod bundle;
pub mod compression;
pub mod depot;
pub mod digest;
pub mod erofs;
pub mod extent;
pub mod import;
pub mod layer;
pub mod manifest;
pub mod registry;
pub mod signature;
pub mod store;
pub mod tarfile;
pub mod tree;

pub use build::{Build, BuildError, Built, build};
