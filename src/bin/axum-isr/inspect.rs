//! Shows what is in an export.

use axum_isr::prerender::{InspectedPage, Inspection, inspect};

use crate::export;
use crate::failure::{Code, Failure, warn};
use crate::options::ExportOptions;
use crate::output::{escaped, print, print_json, size, table, time};

pub(crate) async fn run(options: ExportOptions) -> Result<(), Failure> {
    let seeds = export::open(&options.export)?;
    let found = inspect(&seeds).await.map_err(|problem| export::unusable(&problem, &options.export))?;
    if options.report.json {
        print_json(&found)?;
    } else {
        print(&text(&found))?;
    }
    let ignored = found.ignored.iter().map(|(_, count)| count).sum::<usize>();
    let unused = found.pages.iter().filter(|page| page.unused.is_some()).count();
    if ignored + unused == 0 {
        return Ok(());
    }
    let problem = format!("{ignored} rows of the manifest and {unused} pages are not used");
    if options.report.strict {
        return Err(Failure::new(Code::Failed, problem).hint("the reasons are in the list; export again"));
    }
    warn(&problem);
    Ok(())
}

fn text(found: &Inspection) -> String {
    let said = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), escaped);
    let mut text = format!(
        "{}: {} pages, built {} ago, build {}, deployment {}",
        escaped(&found.source),
        found.pages.len(),
        time(found.age),
        said(&found.build_id),
        said(&found.scope),
    );
    if !found.pages.is_empty() {
        let head = ["PATH", "ROUTE", "STATUS", "SIZE", "REVALIDATE", "EXPIRE", "STATE", "TAGS"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(found.pages.iter().map(row));
        text.push_str("\n\n");
        text.push_str(&table(&rows, &[2, 3, 4, 5]));
    }
    if !found.ignored.is_empty() {
        let counts = found.ignored.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>();
        text.extend(["\n\nignored: ", &counts.join(", "), "\n"]);
        let rows = found.ignored_rows.iter();
        let rows = rows.map(|row| vec![format!("  {}", row.page), row.reason.to_owned(), row.detail.clone()]);
        text.push_str(&table(&rows.collect::<Vec<_>>(), &[]));
    }
    text
}

fn row(page: &InspectedPage) -> Vec<String> {
    let path = match &page.variant {
        Some(variant) => format!("{} ({variant})", page.path),
        None => page.path.clone(),
    };
    let state = match page.unused {
        Some(reason) if reason != page.state.as_str() => format!("{}, not used: {reason}", page.state.as_str()),
        _ => page.state.as_str().to_owned(),
    };
    vec![
        path,
        page.route.clone(),
        page.status.to_string(),
        page.bytes.map_or("-".to_owned(), size),
        page.revalidate.map_or("never".to_owned(), time),
        page.expire.map_or("-".to_owned(), time),
        state,
        page.tags.join(" "),
    ]
}
