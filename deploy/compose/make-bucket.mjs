// Makes the bucket of S3_BUCKET unless it is there, then ends. Run in the image of the server, whose SDK it uses;
// tries for a minute, since the storage may still be starting.
import { CreateBucketCommand, HeadBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { setTimeout as sleep } from 'node:timers/promises'

const { S3_BUCKET, S3_ENDPOINT_URL, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, AWS_REGION } = process.env
const PATIENCE_MS = 60_000

const s3 = new S3Client({
  region: AWS_REGION || 'us-east-1',
  endpoint: S3_ENDPOINT_URL,
  forcePathStyle: true,
  credentials: { accessKeyId: S3_ACCESS_KEY_ID, secretAccessKey: S3_SECRET_ACCESS_KEY },
})

async function makeBucket() {
  try {
    await s3.send(new HeadBucketCommand({ Bucket: S3_BUCKET }))
    return 'is there'
  } catch (error) {
    if (error.$metadata?.httpStatusCode !== 404) throw error
  }
  await s3.send(new CreateBucketCommand({ Bucket: S3_BUCKET }))
  return 'was made'
}

const until = Date.now() + PATIENCE_MS
for (;;) {
  try {
    console.log(`bucket ${S3_BUCKET} ${await makeBucket()}`)
    break
  } catch (error) {
    if (Date.now() > until) throw error
    await sleep(1_000)
  }
}
