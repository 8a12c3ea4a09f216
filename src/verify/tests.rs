mod corpus;
mod file;
mod forge;
mod keyed;
mod keyless;
mod keys;
