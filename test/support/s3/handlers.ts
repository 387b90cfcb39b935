import {
  createBucket,
  deleteBucket,
  deleteObjects,
  headBucket,
  listBuckets,
  listMultipartUploads,
  listObjects,
} from './buckets.ts'
import type { Handler } from './call.ts'
import { completeUpload } from './complete.ts'
import { abortUpload, createUpload, listParts, uploadPart, uploadPartCopy } from './multipart.ts'
import {
  copyObject,
  deleteObject,
  deleteTagging,
  getObject,
  getTagging,
  headObject,
  putObject,
  putTagging,
} from './objects.ts'
import type { Operation } from './operation.ts'

export const HANDLERS: Record<Operation, Handler> = {
  ListBuckets: listBuckets,
  CreateBucket: createBucket,
  HeadBucket: headBucket,
  DeleteBucket: deleteBucket,
  ListObjectsV2: listObjects,
  ListMultipartUploads: listMultipartUploads,
  DeleteObjects: deleteObjects,
  PutObject: putObject,
  CopyObject: copyObject,
  GetObject: getObject,
  HeadObject: headObject,
  DeleteObject: deleteObject,
  PutObjectTagging: putTagging,
  GetObjectTagging: getTagging,
  DeleteObjectTagging: deleteTagging,
  CreateMultipartUpload: createUpload,
  UploadPart: uploadPart,
  UploadPartCopy: uploadPartCopy,
  CompleteMultipartUpload: completeUpload,
  AbortMultipartUpload: abortUpload,
  ListParts: listParts,
}

/** What R2 does not offer at all. */
export const NOT_IN_R2: readonly Operation[] = ['PutObjectTagging', 'GetObjectTagging', 'DeleteObjectTagging']
