mod algorithms;
mod along;
mod authorities;
mod certificate_size;
mod chains;
mod corpus;
mod file;
mod forge;
mod injected;
mod issue;
mod issued_by;
mod keyed;
mod keyless;
mod keys;
mod links;
mod logged;
mod names;
mod policy;
mod readers;
mod root_parts;
mod stamp;
mod stamped;
mod times;
mod token_certificates;
mod tokens;
mod trusted_root;
mod two_times;
mod unproven;
mod unsupported;
mod world;

/// That the name in the signature must be of this repository.
fn of_repository(repository: &crate::oci::RepositoryName) -> super::NameDemand<'_> {
    super::NameDemand {
        repository: repository.as_str(),
        version: super::NamedVersion::Any,
    }
}
