use std::sync::Arc;

use rainstorm_cluster::fs::{Config, FilesServer, Sdfs};
use rainstorm_cluster::identity::DataDirectory;
use rainstorm_engine::time::SystemClock;
use rainstorm_proto::files::files_server;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;

use crate::run;

#[tokio::test]
async fn files_are_kept_between_commands() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let content = "a,b\n1,2\n".repeat(700_000);
    std::fs::write(here.join("big.csv"), &content).unwrap();
    let ran = run(here, &["fs", "ls"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("there is no data directory"), "{}", ran.stderr);
    for arguments in [&["fs", "put", "big.csv", "/in/"], &["fs", "put", "big.csv", "/in/x.csv"]] {
        let ran = run(here, arguments).await;
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    }
    let listed = run(here, &["fs", "ls"]).await.stdout;
    assert!(listed.trim_end().ends_with("/in/"), "{listed}");
    let listed = run(here, &["fs", "ls", "-r", "/"]).await.stdout;
    assert!(listed.contains("5600000  ") && listed.contains("  /in/big.csv\n"), "{listed}");
    assert_eq!(run(here, &["fs", "cat", "/in/x.csv"]).await.stdout, content);
    assert_eq!(run(here, &["fs", "get", "in/x.csv"]).await.code, Some(0));
    assert_eq!(std::fs::read_to_string(here.join("x.csv")).unwrap(), content);
    let stat = run(here, &["fs", "stat", "sdfs:///in/x.csv"]).await.stdout;
    assert!(stat.contains("size      5600000\n") && stat.contains("etag"), "{stat}");
    let ran = run(here, &["fs", "put", "--create", "big.csv", "/in/x.csv"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("in/x.csv exists already"), "{}", ran.stderr);
    assert_eq!(run(here, &["fs", "rm", "/in/x.csv"]).await.code, Some(0));
    let ran = run(here, &["fs", "cat", "/in/x.csv"]).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: file /in/x.csv does not exist\n"));
    assert_eq!(run(here, &["fs", "rm", "-r", "/in"]).await.code, Some(0));
    assert_eq!(run(here, &["fs", "ls"]).await.stdout, "");
}

#[tokio::test]
async fn directories_are_told_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    std::fs::write(here.join("x"), "rain\n").unwrap();
    for path in ["/d/x", "/d/y", "/jobs/a/steps/1/head"] {
        assert_eq!(run(here, &["fs", "put", "x", path]).await.code, Some(0));
    }
    for (arguments, told) in [
        (&["cat", "/d"][..], "/d is a directory"),
        (&["stat", "/d"], "/d is a directory"),
        (&["get", "/d"], "/d is a directory: copy it and all that is in it with -r"),
        (&["ls", "/nosuch"], "there is no file or directory /nosuch"),
        (&["cat", "/x*"], "no file or directory matches '/x*'"),
        (&["rm", "/d"], "/d is a directory: remove it and all that is in it with -r"),
        (
            &["put", "-", "/d/"],
            "'/d/' is a directory: name the file, for standard input has no name",
        ),
        (&["get", "/d/x", "nowhere/x"], "directory nowhere does not exist"),
        (&["ls", "--data", "x"], "x is a file and no data directory"),
        (
            &["rm", "-r", "/"],
            "/jobs is where the cluster keeps what it needs: remove it with --force",
        ),
        (
            &["rm", "-r", "jobs/a"],
            "/jobs/a is where the cluster keeps what it needs: remove it with --force",
        ),
    ] {
        let ran = run(here, &[&["fs"][..], arguments].concat()).await;
        assert_eq!((ran.code, ran.stderr), (Some(1), format!("error: {told}\n")));
    }
    let ran = run(here, &["fs", "get", "/d/x", "-"]).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "rain\n"));
    let ran = run(here, &["fs", "cat", "/d/*"]).await;
    assert_eq!((ran.code, &*ran.stdout), (Some(0), "rain\nrain\n"));
    assert_eq!(run(here, &["fs", "get", "-r", "/d", "/jobs", "."]).await.code, Some(0));
    assert_eq!(std::fs::read_to_string(here.join("jobs/a/steps/1/head")).unwrap(), "rain\n");
    assert_eq!(run(here, &["fs", "put", "-r", "d", "x", "/copies"]).await.code, Some(0));
    let listed = run(here, &["fs", "ls", "-r", "/copies"]).await.stdout;
    let names: Vec<_> = listed.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(names, ["/copies/d/x", "/copies/d/y", "/copies/x"]);
    assert_eq!(run(here, &["fs", "rm", "-r", "/copies/*"]).await.code, Some(0));
    let ran = run(here, &["fs", "rm", "/d/x", "/nosuch", "/d/y"]).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: file /nosuch does not exist\n"));
    assert!(run(here, &["fs", "ls", "-r"]).await.stdout.ends_with("  /jobs/a/steps/1/head\n"));
    assert_eq!(run(here, &["fs", "rm", "-r", "--force", "/"]).await.code, Some(0));
    assert_eq!(run(here, &["fs", "ls"]).await.stdout, "");
}

#[tokio::test]
async fn while_a_process_holds_the_directory_it_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut held = DataDirectory::open(&here.join("rainstorm-data")).unwrap();
    let config = Config::new(held.files_path(), Arc::new(SystemClock));
    let fs = Sdfs::open(config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = files_server::FilesServer::new(FilesServer::new(fs));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    held.publish_address(&address).unwrap();

    std::fs::write(here.join("a.txt"), "rain\n").unwrap();
    let ran = run(here, &["fs", "put", "a.txt", "/a.txt"]).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
    assert_eq!(run(here, &["fs", "cat", "/a.txt"]).await.stdout, "rain\n");
    let ran = run(here, &["fs", "cat", "/b.txt"]).await;
    assert_eq!((ran.code, &*ran.stderr), (Some(1), "error: file /b.txt does not exist\n"));

    let ran = run(here, &["sql", "-c", "SELECT 1"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains(&format!("--master {address}")), "{}", ran.stderr);
}

#[tokio::test]
async fn a_master_that_cannot_be_reached_is_said_to_be_so() {
    let directory = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    for command in [&["cat", "/a"][..], &["rm", "/a"], &["stat", "/a"], &["get", "/a"]] {
        let arguments = [&["fs"], command, &["--master", &address]].concat();
        let ran = run(directory.path(), &arguments).await;
        assert_eq!(ran.code, Some(1), "{command:?}");
        let expected = format!("the master at {address} cannot be reached");
        assert!(ran.stderr.contains(&expected), "{command:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("is a directory"), "{command:?}: {}", ran.stderr);
    }
}
