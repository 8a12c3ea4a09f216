mod archives;
mod attacks;
mod embedded;
mod files;
mod freshness;
mod kept;
mod mirrors;
mod repository;
