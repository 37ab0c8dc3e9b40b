//! Compiles the wire contract in `proto/`, without needing a `protoc` on the machine.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=schemas");
    println!("cargo::rerun-if-changed=policies");
    let files =
        ["proto/assent/v1/collector.proto", "proto/assent/v1/consent.proto", "proto/assent/v1/privacy.proto"];
    let descriptors = protox::compile(files, ["proto"])?;
    // `compile_fds` does not write the descriptor set that server reflection serves.
    let out = PathBuf::from(env::var("OUT_DIR")?).join("assent_descriptor.bin");
    fs::write(&out, descriptors.encode_to_vec())?;
    // Messages and clients.
    tonic_prost_build::configure()
        .build_transport(false)
        .build_server(false)
        .compile_fds(descriptors.clone())?;
    // Services. Theirs are the same messages, but for the one that is never decoded as a whole.
    let services = PathBuf::from(env::var("OUT_DIR")?).join("services");
    fs::create_dir_all(&services)?;
    tonic_prost_build::configure()
        .build_transport(false)
        .build_client(false)
        .codec_path("crate::ingress::codec::BoundedCodec")
        .extern_path(".assent.v1", "crate::ingress::proto")
        .extern_path(".assent.v1.CollectRequest", "crate::ingress::request::CollectRequest")
        .out_dir(services)
        .compile_fds(descriptors)?;
    Ok(())
}
