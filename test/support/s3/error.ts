/** What S3 says when it refuses: code, status, and the words of its documentation or close to them. */
const TABLE = {
  AccessDenied: [403, 'Access Denied'],
  AuthorizationHeaderMalformed: [400, 'The authorization header that you provided is not valid.'],
  AuthorizationQueryParametersError: [400, 'The query parameters of the signature are not valid.'],
  BadDigest: [400, 'The digest that you specified did not match what was received.'],
  BucketAlreadyOwnedByYou: [409, 'You own a bucket of this name already.'],
  BucketNotEmpty: [409, 'The bucket that you tried to delete is not empty.'],
  EntityTooLarge: [400, 'Your proposed upload exceeds the maximum allowed size.'],
  EntityTooSmall: [400, 'Your proposed upload is smaller than the minimum allowed size.'],
  IllegalLocationConstraintException: [400, 'The location constraint is not the region of this endpoint.'],
  IncompleteBody: [400, 'The body has another length than was announced.'],
  InternalError: [500, 'We encountered an internal error. Please try again.'],
  InvalidAccessKeyId: [403, 'The access key id that you provided does not exist in our records.'],
  InvalidArgument: [400, 'Invalid argument.'],
  InvalidBucketName: [400, 'The specified bucket is not valid.'],
  InvalidDigest: [400, 'The Content-MD5 that you specified is not valid.'],
  InvalidObjectState: [403, 'The operation is not valid for the storage class of the object.'],
  InvalidPart: [
    400,
    'A specified part could not be found: it was not uploaded, or its ETag is not the one that was given.',
  ],
  InvalidPartOrder: [400, 'The list of parts was not in ascending order of part numbers.'],
  InvalidRange: [416, 'The requested range is not satisfiable.'],
  InvalidRequest: [400, 'Invalid request.'],
  InvalidStorageClass: [400, 'The storage class that you specified is not valid.'],
  InvalidTag: [400, 'The tag that you provided is not valid.'],
  KeyTooLongError: [400, 'Your key is too long.'],
  MalformedXML: [400, 'The XML that you provided was not well-formed or did not fit our schema.'],
  MetadataTooLarge: [400, 'Your metadata exceeds the maximum allowed size.'],
  MissingContentLength: [411, 'You must provide the Content-Length header.'],
  NoSuchBucket: [404, 'The specified bucket does not exist.'],
  NoSuchKey: [404, 'The specified key does not exist.'],
  NoSuchUpload: [404, 'The specified multipart upload does not exist: it was aborted or completed.'],
  NotImplemented: [501, 'A header or parameter that you provided asks for what is not implemented.'],
  NotModified: [304, 'Not Modified'],
  PreconditionFailed: [412, 'At least one of the pre-conditions that you specified did not hold.'],
  RequestTimeTooSkewed: [403, 'The time of the request differs too much from the time of the server.'],
  SignatureDoesNotMatch: [403, 'The signature that we calculated does not match the one that you provided.'],
  XAmzContentSHA256Mismatch: [400, "The header 'x-amz-content-sha256' does not match what was received."],
} as const satisfies Record<string, readonly [number, string]>

export type S3ErrorCode = keyof typeof TABLE

/** A refusal. The server makes the answer of it. */
export class S3Error extends Error {
  readonly code: S3ErrorCode
  readonly status: number

  constructor(code: S3ErrorCode, message: string = TABLE[code][1]) {
    super(message)
    this.name = 'S3Error'
    this.code = code
    this.status = TABLE[code][0]
  }
}
