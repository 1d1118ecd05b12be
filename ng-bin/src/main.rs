//! `ng`: the program. It only hands over to [`ng_stack::cli`].

fn main() -> std::process::ExitCode {
    ng_stack::cli::main()
}
