//! Every S3 operation by AWS's name, how it is told from the request line, and what this proxy does with it.
//! One table; the routing over it is in `operation/route.rs`. No policy, no I/O.

use crate::config::Action;
use crate::error::{Code, Error, Result};

mod route;
#[cfg(test)]
mod tests;

pub use route::{Route, route};

/// What the proxy does with an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// A typed handler of our own: it seals, opens, translates or answers.
    Handler,
    /// Re-signed and passed through, body and XML untouched.
    Pass,
    /// As [`Class::Pass`], but only to a backend whose profile lists this subresource: one that does not know it
    /// runs the bare operation instead (`DELETE /b?website` deletes the bucket).
    PassIfListed(&'static str),
    /// Refused by name with 501 `NotImplemented`, for good; the text says why.
    Refused(&'static str),
}

/// What a request line addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// `/`
    Service,
    /// `/bucket`
    Bucket,
    /// `/bucket/key`
    Object,
}

/// One row of the table.
#[derive(Debug)]
struct Row {
    operation: Operation,
    name: &'static str,
    /// Upper-case method.
    method: &'static str,
    level: Level,
    /// Query parameter that selects it; empty for the bare operation or one found by other means.
    selector: &'static str,
    /// Further parameters that belong to it and go on to the backend.
    parameters: &'static [&'static str],
    class: Class,
    action: Action,
}

const WHY_CIPHERTEXT: &str =
    "it would have to run on the plaintext, and the storage behind holds only ciphertext";
const WHY_PUBLISH: &str = "it would publish ciphertext";
const WHY_TABLES: &str = "its tables would show sizes, ETags and checksums of ciphertext";
const WHY_CLEAR: &str = "it would store client data unencrypted";
const WHY_BOUND: &str =
    "an object's key is bound into its encryption, so it cannot be renamed in place; copy and delete it";
const WHY_DIRECTORY: &str = "directory buckets are not supported";
const WHY_EXTENSION: &str = "this extension of S3 cannot work on encrypted objects";
const WHY_IAM: &str = "identities are configured at the proxy; there is no IAM, STS or SNS here";

const LISTING: &[&str] = &["delimiter", "encoding-type", "marker", "max-keys", "prefix", "allow-unordered"];
const LISTING_V2: &[&str] = &[
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "max-keys",
    "prefix",
    "start-after",
    "allow-unordered",
];
const LISTING_VERSIONS: &[&str] = &[
    "delimiter",
    "encoding-type",
    "key-marker",
    "max-keys",
    "prefix",
    "version-id-marker",
    "allow-unordered",
];
const LISTING_UPLOADS: &[&str] =
    &["delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"];
const OBJECT_READ: &[&str] = &[
    "partNumber",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "versionId",
];
const BUCKETS: &[&str] = &["bucket-region", "continuation-token", "max-buckets", "prefix"];
const VERSION: &[&str] = &["versionId"];
const NONE: &[&str] = &[];

macro_rules! operations {
    ($($operation:ident: $method:ident $level:ident $selector:literal $parameters:expr => $class:expr, $action:ident;)*) => {
        /// An S3 operation under AWS's name, then what AWS's model does not hold.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Operation {
            $($operation,)*
        }

        /// In the order of the variants, so that a variant is its row's index.
        const TABLE: &[Row] = &[$(Row {
            operation: Operation::$operation,
            name: stringify!($operation),
            method: stringify!($method),
            level: Level::$level,
            selector: $selector,
            parameters: $parameters,
            class: $class,
            action: Action::$action,
        },)*];
    };
}

use Class::{Handler, Pass, PassIfListed, Refused};

operations! {
    // Objects
    PutObject: PUT Object "" NONE => Handler, Write;
    GetObject: GET Object "" OBJECT_READ => Handler, Read;
    HeadObject: HEAD Object "" OBJECT_READ => Handler, Read;
    CopyObject: PUT Object "" NONE => Handler, Write;
    UpdateObjectEncryption: PUT Object "encryption" VERSION => Handler, Write;
    DeleteObject: DELETE Object "" VERSION => Handler, Write;
    DeleteObjects: POST Bucket "delete" NONE => Handler, Write;
    GetObjectAttributes: GET Object "attributes" VERSION => Handler, Read;
    RestoreObject: POST Object "restore" VERSION => Pass, Write;
    GetObjectAcl: GET Object "acl" VERSION => Pass, Read;
    PutObjectAcl: PUT Object "acl" VERSION => Pass, Write;
    GetObjectTagging: GET Object "tagging" VERSION => Pass, Read;
    PutObjectTagging: PUT Object "tagging" VERSION => Pass, Write;
    DeleteObjectTagging: DELETE Object "tagging" VERSION => PassIfListed("tagging"), Write;
    GetObjectRetention: GET Object "retention" VERSION => Pass, Read;
    PutObjectRetention: PUT Object "retention" VERSION => Pass, Write;
    GetObjectLegalHold: GET Object "legal-hold" VERSION => Pass, Read;
    PutObjectLegalHold: PUT Object "legal-hold" VERSION => Pass, Write;
    RenameObject: PUT Object "renameObject" NONE => Refused(WHY_BOUND), Write;
    SelectObjectContent: POST Object "select" &["select-type"] => Refused(WHY_CIPHERTEXT), Read;
    GetObjectTorrent: GET Object "torrent" NONE => Refused(WHY_PUBLISH), Read;
    WriteGetObjectResponse: POST Bucket "" NONE => Refused("its plaintext would bypass the proxy"), Write;
    PutObjectAnnotation: PUT Object "annotation" &["annotationName", "versionId"] => Refused(WHY_CLEAR), Write;
    GetObjectAnnotation: GET Object "annotation" &["annotationName", "versionId"] => Refused(WHY_CLEAR), Read;
    ListObjectAnnotations: GET Object "annotation"
        &["annotation-prefix", "continuation-token", "max-annotation-results", "versionId"] => Refused(WHY_CLEAR), Read;
    DeleteObjectAnnotation: DELETE Object "annotation" &["annotationName", "versionId"] => Refused(WHY_CLEAR), Write;

    // Multipart
    CreateMultipartUpload: POST Object "uploads" NONE => Handler, Write;
    UploadPart: PUT Object "uploadId" &["partNumber"] => Handler, Write;
    UploadPartCopy: PUT Object "uploadId" &["partNumber"] => Handler, Write;
    CompleteMultipartUpload: POST Object "uploadId" NONE => Handler, Write;
    AbortMultipartUpload: DELETE Object "uploadId" NONE => Handler, Write;
    ListParts: GET Object "uploadId" &["encoding-type", "max-parts", "part-number-marker"]
        => Handler, Read;
    ListMultipartUploads: GET Bucket "uploads" LISTING_UPLOADS => Handler, Read;

    // Listings and buckets
    ListObjects: GET Bucket "" LISTING => Handler, Read;
    ListObjectsV2: GET Bucket "list-type" LISTING_V2 => Handler, Read;
    ListObjectVersions: GET Bucket "versions" LISTING_VERSIONS => Handler, Read;
    ListBuckets: GET Service "" BUCKETS => Handler, Read;
    ListDirectoryBuckets: GET Service "max-directory-buckets" &["continuation-token"]
        => Refused(WHY_DIRECTORY), Read;
    CreateBucket: PUT Bucket "" NONE => Handler, Admin;
    DeleteBucket: DELETE Bucket "" NONE => Handler, Admin;
    HeadBucket: HEAD Bucket "" NONE => Pass, Read;
    GetBucketLocation: GET Bucket "location" NONE => Pass, Read;
    CreateSession: GET Bucket "session" NONE => Refused(WHY_DIRECTORY), Read;

    // Bucket configuration
    GetBucketEncryption: GET Bucket "encryption" NONE => Handler, Read;
    PutBucketEncryption: PUT Bucket "encryption" NONE => Handler, Admin;
    DeleteBucketEncryption: DELETE Bucket "encryption" NONE => Handler, Admin;
    GetBucketPolicy: GET Bucket "policy" NONE => Pass, Admin;
    PutBucketPolicy: PUT Bucket "policy" NONE => Handler, Admin;
    DeleteBucketPolicy: DELETE Bucket "policy" NONE => PassIfListed("policy"), Admin;
    GetBucketPolicyStatus: GET Bucket "policyStatus" NONE => PassIfListed("policyStatus"), Admin;
    GetBucketAcl: GET Bucket "acl" NONE => Pass, Admin;
    PutBucketAcl: PUT Bucket "acl" NONE => Pass, Admin;
    GetBucketCors: GET Bucket "cors" NONE => Pass, Admin;
    PutBucketCors: PUT Bucket "cors" NONE => Pass, Admin;
    DeleteBucketCors: DELETE Bucket "cors" NONE => PassIfListed("cors"), Admin;
    GetBucketVersioning: GET Bucket "versioning" NONE => Pass, Read;
    PutBucketVersioning: PUT Bucket "versioning" NONE => Pass, Admin;
    GetBucketTagging: GET Bucket "tagging" NONE => Pass, Admin;
    PutBucketTagging: PUT Bucket "tagging" NONE => Pass, Admin;
    DeleteBucketTagging: DELETE Bucket "tagging" NONE => PassIfListed("tagging"), Admin;
    GetBucketLifecycleConfiguration: GET Bucket "lifecycle" NONE => Pass, Admin;
    PutBucketLifecycleConfiguration: PUT Bucket "lifecycle" NONE => Pass, Admin;
    DeleteBucketLifecycle: DELETE Bucket "lifecycle" NONE => PassIfListed("lifecycle"), Admin;
    GetObjectLockConfiguration: GET Bucket "object-lock" NONE => Pass, Read;
    PutObjectLockConfiguration: PUT Bucket "object-lock" NONE => Pass, Admin;
    GetBucketNotificationConfiguration: GET Bucket "notification" NONE => Pass, Admin;
    PutBucketNotificationConfiguration: PUT Bucket "notification" NONE => Pass, Admin;
    GetBucketLogging: GET Bucket "logging" NONE => PassIfListed("logging"), Admin;
    PutBucketLogging: PUT Bucket "logging" NONE => PassIfListed("logging"), Admin;
    GetBucketReplication: GET Bucket "replication" NONE => PassIfListed("replication"), Admin;
    PutBucketReplication: PUT Bucket "replication" NONE => PassIfListed("replication"), Admin;
    DeleteBucketReplication: DELETE Bucket "replication" NONE => PassIfListed("replication"), Admin;
    GetBucketRequestPayment: GET Bucket "requestPayment" NONE => PassIfListed("requestPayment"), Admin;
    PutBucketRequestPayment: PUT Bucket "requestPayment" NONE => PassIfListed("requestPayment"), Admin;
    GetBucketWebsite: GET Bucket "website" NONE => PassIfListed("website"), Admin;
    PutBucketWebsite: PUT Bucket "website" NONE => PassIfListed("website"), Admin;
    DeleteBucketWebsite: DELETE Bucket "website" NONE => PassIfListed("website"), Admin;
    GetBucketAccelerateConfiguration: GET Bucket "accelerate" NONE => PassIfListed("accelerate"), Admin;
    PutBucketAccelerateConfiguration: PUT Bucket "accelerate" NONE => PassIfListed("accelerate"), Admin;
    GetBucketAbac: GET Bucket "abac" NONE => PassIfListed("abac"), Admin;
    PutBucketAbac: PUT Bucket "abac" NONE => PassIfListed("abac"), Admin;
    GetBucketOwnershipControls: GET Bucket "ownershipControls" NONE => PassIfListed("ownershipControls"), Admin;
    PutBucketOwnershipControls: PUT Bucket "ownershipControls" NONE => PassIfListed("ownershipControls"), Admin;
    DeleteBucketOwnershipControls: DELETE Bucket "ownershipControls" NONE
        => PassIfListed("ownershipControls"), Admin;
    GetPublicAccessBlock: GET Bucket "publicAccessBlock" NONE => PassIfListed("publicAccessBlock"), Admin;
    PutPublicAccessBlock: PUT Bucket "publicAccessBlock" NONE => PassIfListed("publicAccessBlock"), Admin;
    DeletePublicAccessBlock: DELETE Bucket "publicAccessBlock" NONE => PassIfListed("publicAccessBlock"), Admin;
    GetBucketAnalyticsConfiguration: GET Bucket "analytics" &["id"] => PassIfListed("analytics"), Admin;
    PutBucketAnalyticsConfiguration: PUT Bucket "analytics" &["id"] => PassIfListed("analytics"), Admin;
    DeleteBucketAnalyticsConfiguration: DELETE Bucket "analytics" &["id"] => PassIfListed("analytics"), Admin;
    ListBucketAnalyticsConfigurations: GET Bucket "analytics" &["continuation-token"]
        => PassIfListed("analytics"), Admin;
    GetBucketMetricsConfiguration: GET Bucket "metrics" &["id"] => PassIfListed("metrics"), Admin;
    PutBucketMetricsConfiguration: PUT Bucket "metrics" &["id"] => PassIfListed("metrics"), Admin;
    DeleteBucketMetricsConfiguration: DELETE Bucket "metrics" &["id"] => PassIfListed("metrics"), Admin;
    ListBucketMetricsConfigurations: GET Bucket "metrics" &["continuation-token"] => PassIfListed("metrics"), Admin;
    GetBucketIntelligentTieringConfiguration: GET Bucket "intelligent-tiering" &["id"]
        => PassIfListed("intelligent-tiering"), Admin;
    PutBucketIntelligentTieringConfiguration: PUT Bucket "intelligent-tiering" &["id"]
        => PassIfListed("intelligent-tiering"), Admin;
    DeleteBucketIntelligentTieringConfiguration: DELETE Bucket "intelligent-tiering" &["id"]
        => PassIfListed("intelligent-tiering"), Admin;
    ListBucketIntelligentTieringConfigurations: GET Bucket "intelligent-tiering" &["continuation-token"]
        => PassIfListed("intelligent-tiering"), Admin;
    GetBucketInventoryConfiguration: GET Bucket "inventory" &["id"] => PassIfListed("inventory"), Admin;
    PutBucketInventoryConfiguration: PUT Bucket "inventory" &["id"] => PassIfListed("inventory"), Admin;
    DeleteBucketInventoryConfiguration: DELETE Bucket "inventory" &["id"] => PassIfListed("inventory"), Admin;
    ListBucketInventoryConfigurations: GET Bucket "inventory" &["continuation-token"]
        => PassIfListed("inventory"), Admin;
    CreateBucketMetadataConfiguration: POST Bucket "metadataConfiguration" NONE => Refused(WHY_TABLES), Admin;
    CreateBucketMetadataTableConfiguration: POST Bucket "metadataTable" NONE => Refused(WHY_TABLES), Admin;
    GetBucketMetadataConfiguration: GET Bucket "metadataConfiguration" NONE => Refused(WHY_TABLES), Admin;
    GetBucketMetadataTableConfiguration: GET Bucket "metadataTable" NONE => Refused(WHY_TABLES), Admin;
    DeleteBucketMetadataConfiguration: DELETE Bucket "metadataConfiguration" NONE => Refused(WHY_TABLES), Admin;
    DeleteBucketMetadataTableConfiguration: DELETE Bucket "metadataTable" NONE => Refused(WHY_TABLES), Admin;
    UpdateBucketMetadataInventoryTableConfiguration: PUT Bucket "metadataInventoryTable" NONE
        => Refused(WHY_TABLES), Admin;
    UpdateBucketMetadataJournalTableConfiguration: PUT Bucket "metadataJournalTable" NONE
        => Refused(WHY_TABLES), Admin;
    UpdateBucketMetadataAnnotationTableConfiguration: PUT Bucket "metadataAnnotationTable" NONE
        => Refused(WHY_TABLES), Admin;

    // Not in AWS's model
    Preflight: OPTIONS Object "" NONE => Pass, Read;
    PostObject: POST Bucket "" NONE => Handler, Write;
    QueryApi: POST Service "" NONE => Refused(WHY_IAM), Admin;
    MinioHealth: GET Service "" NONE => Handler, Read;
    MinioKms: POST Service "" NONE => Handler, Admin;
    MinioOther: POST Service "" NONE => Refused("this call of MinIO's own API is not supported"), Admin;
    ListenNotification: GET Bucket "events" NONE => Refused(WHY_EXTENSION), Read;
    ListWithMetadata: GET Bucket "metadata" NONE => Refused(WHY_EXTENSION), Read;
    ObjectLambda: GET Object "lambdaArn" NONE => Refused(WHY_EXTENSION), Read;
    AppendObject: PUT Object "append" NONE => Refused(WHY_EXTENSION), Write;
    ComposeObject: PUT Object "compose" NONE => Refused(WHY_EXTENSION), Write;
}

impl Operation {
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }

    /// AWS's name, such as `PutObject`; for what AWS does not have, the variant's own.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What the proxy does with it.
    pub fn class(self) -> Class {
        self.row().class
    }

    /// The right that an identity needs for it.
    pub fn action(self) -> Action {
        self.row().action
    }

    /// What it addresses. [`Operation::Preflight`] says `Object` and may address anything.
    pub fn level(self) -> Level {
        self.row().level
    }

    /// The query parameter that selects it; empty where none does.
    pub fn selector(self) -> &'static str {
        self.row().selector
    }

    /// Whether a query parameter belongs to it, and so may go on to the backend.
    pub fn knows_parameter(self, name: &[u8]) -> bool {
        let row = self.row();
        (!row.selector.is_empty() && name == row.selector.as_bytes())
            || row.parameters.iter().any(|p| p.as_bytes() == name)
    }

    /// The error of an operation that is not served, if it is none.
    pub fn refuse(self) -> Result<()> {
        match self.class() {
            Class::Refused(why) => Err(Error::client(
                Code::NotImplemented,
                format!("{} is not implemented by this proxy: {why}.", self.name()),
            )),
            Class::Handler | Class::Pass | Class::PassIfListed(_) => Ok(()),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Operation> {
        TABLE.iter().map(|row| row.operation)
    }
}
