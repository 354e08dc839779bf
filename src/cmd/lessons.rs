//! `evenkeel lessons`: lists, prints and copies the embedded lessons. `check --lesson` grades a solution here.

use std::path::{Path, PathBuf};

use super::scenarios::write_new;
use super::scheduler::stopped;
use super::{Failure, Terminal, check, complain_of, embedded, inputs, say, say_on};
use crate::report::table;
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::{Diagnostic, Problem, Problems};
use evenkeel_sim::lesson::{Grade, GradeError, Lesson};

/// Longest solution that is read, bytes.
const LONGEST: u64 = 1 << 20;

/// Actions on the embedded lessons.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel lessons                          the list
  evenkeel lessons show 7                   text, question and task
  evenkeel lessons copy 7                   writes ./lesson-07.toml
  evenkeel check lesson-07.toml --lesson 7  grades it

A lesson asks for a guess, shows a run, explains it with its numbers, and ends in a challenge: a scenario whose \
expectations fail until you have changed it. A lesson goes by its number or its name.")]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a lesson: text, question and task, without answers
    #[command(after_help = "\
Examples:
  evenkeel lessons show 7
  evenkeel lessons show power-of-two --answers")]
    Show {
        /// Number or name, from `evenkeel lessons`
        lesson: String,
        /// Print the answer, the explanation, the hints and a solution, too
        #[arg(long)]
        answers: bool,
        /// Print all of it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy the scenario of a lesson's challenge into a file
    #[command(after_help = "\
Examples:
  evenkeel lessons copy 7                 writes ./lesson-07.toml
  evenkeel lessons copy 7 mine.toml
  evenkeel lessons copy 7 --watched       the run to watch, for `evenkeel run`")]
    Copy {
        /// Number or name, from `evenkeel lessons`
        lesson: String,
        /// File to write [default: lesson-NN.toml, or lesson-NN-watched.toml]
        file: Option<PathBuf>,
        /// Copy the scenario that is watched instead
        #[arg(long)]
        watched: bool,
        /// Overwrite an existing file
        #[arg(long)]
        force: bool,
    },
}

pub fn lessons(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    match &args.verb {
        None => list(args.json, terminal),
        Some(Verb::Show { lesson, answers, json }) => {
            let lesson = find(lesson)?;
            match json {
                true => say(serde_json::to_string(&lesson).map_err(anyhow::Error::from)?),
                false => say(text(&lesson, *answers, terminal)?),
            }
        }
        Some(Verb::Copy { lesson, file, watched, force }) => {
            let lesson = find(lesson)?;
            let (source, ending) =
                if *watched { (&lesson.watch.scenario, "-watched") } else { (&lesson.challenge.scenario, "") };
            let name = || PathBuf::from(format!("lesson-{:02}{ending}.toml", lesson.number));
            let file = file.clone().unwrap_or_else(name);
            write_new(&[(file.clone(), source)], *force, "choose another file, or --force")?;
            if !*watched {
                say(format_args!("grade it: evenkeel check {} --lesson {}", file.display(), lesson.number));
            }
        }
    }
    Ok(())
}

/// The embedded lessons; a test reads each of them.
fn all() -> impl Iterator<Item = Lesson> {
    embedded::lessons().iter().filter_map(|lesson| Lesson::parse(lesson.source).ok())
}

/// The lesson of this number or name.
fn find(wanted: &str) -> Result<Lesson, Failure> {
    let number = wanted.parse::<u32>().ok();
    let is_it = |lesson: &Lesson| Some(lesson.number) == number || lesson.name == wanted;
    all().find(is_it).ok_or_else(|| {
        let names: Vec<String> = all().map(|lesson| lesson.name).collect();
        let help = match number {
            Some(_) => format!("they have the numbers 1 to {}", names.len()),
            None => did_you_mean(wanted, names.iter().map(String::as_str)),
        };
        Failure::Usage(format!("there is no lesson `{wanted}`\n  help: {help}"))
    })
}

fn list(json: bool, terminal: Terminal) {
    if json {
        let row = |lesson: Lesson| {
            let Lesson { number, name, title, summary, minutes, .. } = lesson;
            serde_json::json!({ "number": number, "name": name, "title": title, "summary": summary, "minutes": minutes })
        };
        return say(serde_json::Value::from(all().map(row).collect::<Vec<_>>()));
    }
    let mut table = table::plain(Some(terminal.columns()));
    table.set_header(["", "lesson", "what it teaches"]);
    for lesson in all() {
        table.add_row([lesson.number.to_string(), lesson.title, lesson.summary]);
    }
    say(table);
    say("`evenkeel lessons show 1` prints one, `evenkeel lessons copy 1` copies its challenge.");
}

/// A lesson as text.
fn text(lesson: &Lesson, answers: bool, terminal: Terminal) -> Result<String, Failure> {
    let width = usize::from(terminal.columns()).clamp(40, 100);
    let fill = |text: &str, first: &str, rest: &str| {
        textwrap::fill(text, textwrap::Options::new(width).initial_indent(first).subsequent_indent(rest))
    };
    let prose = |text: &str| {
        let paragraph = |text: &str| fill(&text.split_whitespace().collect::<Vec<_>>().join(" "), "  ", "  ");
        text.split("\n\n").map(paragraph).collect::<Vec<_>>().join("\n\n")
    };
    let points = |items: &[String]| items.iter().map(|item| fill(item, "  - ", "    ")).collect::<Vec<_>>().join("\n");
    let mut text = format!("{}. {}  ({})\n", lesson.number, terminal.bold(&lesson.title), lesson.name);
    let mut section = |name: &str, body: String| text += &format!("\n{}\n{body}\n", terminal.bold(name));
    section("Before you start", prose(&lesson.intro));
    let option = |(i, option): (usize, &String)| {
        let mark = if answers && i == lesson.predict.answer { "=>" } else { "  " };
        fill(option, &format!("{mark} {}) ", letter(i)), "      ")
    };
    let options: Vec<String> = lesson.predict.options.iter().enumerate().map(option).collect();
    section("Guess", format!("{}\n\n{}", prose(&lesson.predict.question), options.join("\n")));
    let command = format!("  evenkeel lessons copy {} --watched", lesson.number);
    section("Watch", format!("{}\n\n{command}", points(&lesson.watch.look_for)));
    if answers {
        let watched = lesson.watched(&stopped)?;
        section("What happened", prose(&lesson.explained(&watched)));
    }
    let may_change = format!("You may change: {}", lesson.challenge.may_change.join(", "));
    let expects = lesson.challenge.expects.iter().map(|expect| format!("  {expect}")).collect::<Vec<_>>().join("\n");
    section("Challenge", format!("{}\n\n{expects}\n\n{}", prose(&lesson.challenge.task), prose(&may_change)));
    if answers {
        section("Hints", points(&lesson.challenge.hints));
        let change = |change: &evenkeel_sim::lesson::Change| match &change.value {
            Some(value) => format!("  {} = {value}", change.key),
            None => format!("  remove {}", change.key),
        };
        let changes: Vec<String> = lesson.solution.changes.iter().map(change).collect();
        section("A solution", format!("{}\n\n{}", changes.join("\n"), prose(&lesson.solution.text)));
    }
    Ok(text.trim_end().to_owned())
}

fn letter(option: usize) -> char {
    u8::try_from(option).ok().and_then(|i| b'a'.checked_add(i)).map_or('?', char::from)
}

/// Grades the one file among `paths` as a solution of a lesson.
pub fn grade(lesson: &str, paths: &[PathBuf], json: bool, terminal: Terminal) -> Result<(), Failure> {
    let lesson = find(lesson)?;
    let [path] = paths else {
        return Err(Failure::Usage("--lesson grades one file: give one".to_owned()));
    };
    let refused = |source: String, problems: Problems| {
        complain_of(&Diagnostic { file: path.display().to_string(), source, problems }, terminal);
        Failure::Usage(String::new())
    };
    let source = read(path, &lesson).map_err(|problem| refused(String::new(), vec![problem]))?;
    let grade = lesson.grade(&source, &stopped).map_err(|error| match error {
        GradeError::Invalid(problems) => refused(source.clone(), problems),
        GradeError::Stopped(stopped) => stopped.into(),
    })?;
    match json {
        true => say_on(serde_json::to_string(&grade).map_err(anyhow::Error::from)?),
        false => print(&lesson, &grade, terminal),
    }
    if grade.passed { Ok(()) } else { Err(Failure::No) }
}

fn read(path: &Path, lesson: &Lesson) -> Result<String, Problem> {
    let help = format!("`evenkeel lessons copy {}` writes the scenario to change", lesson.number);
    inputs::read_text(path, LONGEST).map_err(|why| Problem::of_file(format!("the file {why}")).help(help))
}

fn print(lesson: &Lesson, grade: &Grade, terminal: Terminal) {
    say_on(format_args!("Lesson {}  {}", lesson.number, terminal.bold(&lesson.title)));
    for change in grade.changed.iter().filter(|change| !grade.not_allowed.contains(change)) {
        say_on(format_args!("  changed      {change}"));
    }
    for change in &grade.not_allowed {
        say_on(format_args!("  not allowed  {change}"));
    }
    for result in &grade.checks {
        check::print(&result.assert, result.holds, &result.values, &result.reason, terminal);
    }
    say_on(format_args!("\n{}", grade.message));
    if !grade.not_allowed.is_empty() {
        say_on(format_args!("You may change: {}", lesson.challenge.may_change.join(", ")));
    }
    if grade.passed {
        say_on(format_args!("{}", lesson.solution.text));
    } else if let Some(hint) = &grade.hint {
        say_on(format_args!("Hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lesson_of_the_repository_is_embedded_and_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons");
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let sources: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        assert_eq!(embedded::lessons().iter().map(|lesson| lesson.source).collect::<Vec<_>>(), sources);
        assert_eq!(all().count(), files.len());
    }

    #[test]
    fn a_text_without_answers_gives_none_away() {
        let terminal = Terminal { out: false, err: false, width: None };
        for lesson in all() {
            let shown = text(&lesson, false, terminal).unwrap();
            for secret in ["=>", "Hints", "A solution", "What happened"] {
                assert!(!shown.contains(secret), "{}: {secret}", lesson.name);
            }
            let answered = text(&lesson, true, terminal).unwrap();
            let secrets = ["=> ", "Hints", "A solution", "What happened"];
            assert!(secrets.iter().all(|secret| answered.contains(secret)), "{}: {answered}", lesson.name);
            assert!(answered.lines().all(|line| line.chars().count() <= 120), "{}: {answered}", lesson.name);
        }
    }
}
