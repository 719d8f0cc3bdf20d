//! Compares the files of an export with its manifest.

use axum_isr::prerender::verify;

use crate::export;
use crate::failure::{Code, Failure, warn};
use crate::options::ExportOptions;
use crate::output::{print, print_json, table};

pub(crate) async fn run(options: ExportOptions) -> Result<(), Failure> {
    let seeds = export::open(&options.export)?;
    let report = verify(&seeds).await.map_err(|problem| export::unusable(&problem, &options.export))?;
    if options.report.json {
        print_json(&report)?;
    } else {
        let rows = report.bad.iter().map(|bad| vec![format!("  {}", bad.path), bad.file.clone(), bad.reason.clone()]);
        let rows = rows.collect::<Vec<_>>();
        let list = if rows.is_empty() { String::new() } else { format!("\n{}", table(&rows, &[])) };
        print(&format!("{report}{list}"))?;
    }
    if !report.is_good() {
        let transient = report.bad.iter().all(|bad| bad.transient);
        let code = if transient { Code::OutOfReach } else { Code::Failed };
        let hint = if transient {
            "it may go well later: try again"
        } else {
            "the site would render these pages; export again, or copy the whole folder again"
        };
        return Err(Failure::new(code, format!("{} files are not what the manifest says", report.bad.len())).hint(hint));
    }
    let unsure = report.ignored + report.unknown;
    let problem = format!("{} rows are ignored, {} files have no digest", report.ignored, report.unknown);
    match unsure {
        0 => Ok(()),
        _ if options.report.strict => {
            Err(Failure::new(Code::Failed, problem).hint("`axum-isr inspect` says why; export again"))
        }
        _ => {
            warn(&problem);
            Ok(())
        }
    }
}
