//! An S3 server in this process, on loopback, stored in a folder.
