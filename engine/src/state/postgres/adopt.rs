//! What a place was found to hold of a project.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::targets::{Numbers, of_project, put_target, touch};
use crate::model::Place;
use crate::postgres::{Failure, Transaction};
use crate::state::project::AdoptedRecord;

/// The found records, given as four lists.
const FOUND: &str =
    "unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS found (id, fingerprint, repository, path)";

pub(super) async fn adopt(
    tx: &Transaction,
    name: &str,
    place: &Place,
    records: &[AdoptedRecord],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let Numbers { project, target, place } = put_target(tx, name, place).await?;
    let column = |of: fn(&AdoptedRecord) -> &str| records.iter().map(of).collect::<Vec<&str>>();
    let (ids, fingerprints) = (column(|record| &record.id), column(|record| record.fingerprint.as_str()));
    let (repositories, paths) = (column(|record| &record.repository), column(|record| &record.path));
    // For a file with a row, in another place, the ids become leftovers of this one.
    let leftovers = format!(
        concat!(
            "INSERT INTO leftovers SELECT $6, found.id, $7, found.repository, path FROM {} JOIN files
                 ON files.repository = found.repository AND file_path = path WHERE ",
            of_project!(),
            " ON CONFLICT DO NOTHING"
        ),
        FOUND
    );
    let files = format!(
        "WITH new AS (
             INSERT INTO files (target_id, repository, file_path, embedding_count, status)
             SELECT $1, repository, path, count(DISTINCT found.id), 'adopted' FROM {FOUND}
             WHERE NOT EXISTS (SELECT 1 FROM files JOIN targets ON targets.id = target_id
                 WHERE project_id = $6 AND files.repository = found.repository AND file_path = path)
             GROUP BY repository, path
             RETURNING id, repository, file_path)
         INSERT INTO chunks
         SELECT DISTINCT ON (new.id, found.id) new.id, found.id, fingerprint FROM {FOUND}
         JOIN new ON new.repository = found.repository AND file_path = path"
    );
    let names: BTreeSet<&str> = repositories.iter().copied().collect();
    let names: Vec<&str> = names.into_iter().collect();
    let entered =
        "INSERT INTO repositories (project_id, name, key) SELECT $1, name, '' FROM unnest($2::text[]) AS name
         ON CONFLICT DO NOTHING";
    futures::try_join!(
        tx.run(&leftovers, &[&project, &ids, &fingerprints, &repositories, &paths, &place, &name]),
        tx.run(&files, &[&target, &ids, &fingerprints, &repositories, &paths, &project]),
        tx.run(entered, &[&project, &names]),
        tx.run("UPDATE targets SET adopted_at = coalesce(adopted_at, $2) WHERE id = $1", &[&target, &now]),
        touch(tx, project, names.clone()),
    )?;
    Ok(())
}
