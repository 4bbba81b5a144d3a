//! The XML bodies of S3 that this proxy reads or writes itself. Listings are edited in place in `s3/listing`.
//! quick-xml finds the markup; what may stand in it is decided here.

mod attributes;
mod bucket;
mod copy;
mod delete;
mod encryption;
mod error;
mod find;
mod multipart;
mod object_encryption;
mod tagging;
mod tokens;
mod uploads;
mod write;

pub use attributes::{ObjectAttributes, ObjectPart, ObjectParts, PartsPage, render_attributes};
pub use bucket::{Account, BucketPage, ListedBucket, location_constraint, parse_buckets, render_buckets};
pub use copy::{BackendCopy, CopyResult, parse_backend_copy, render_copied_object, render_copied_part};
pub use delete::{
    DeleteRequest, DeleteResult, DeletedKey, FailedKey, MAX_DELETE_BODY, ObjectToDelete, parse_delete,
    parse_delete_result, render_delete, render_delete_result,
};
pub use encryption::{DefaultEncryption, EncryptionRule, parse_encryption, render_encryption};
pub use error::{ErrorContext, error_body};
pub use find::first_text;
pub use multipart::{
    AboutUpload, BackendParts, Completed, ListedPart, MAX_COMPLETE_BODY, PartList, ShownPart,
    parse_backend_parts, parse_complete, parse_initiated, render_complete, render_completed,
    render_initiated, render_part_list,
};
pub use object_encryption::{ObjectEncryption, parse_object_encryption};
pub use tagging::{parse_sent_tags, parse_tags};
pub(crate) use tokens::{Broken, Token, Tokens};
pub use uploads::{
    BackendUpload, BackendUploads, Initiated, UploadList, UploadMarker, parse_backend_uploads,
    render_upload_list,
};
pub use write::Writer;
pub(crate) use write::escape;

/// The namespace of every S3 body.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
