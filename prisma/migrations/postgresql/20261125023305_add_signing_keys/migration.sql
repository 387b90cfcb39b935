-- CreateTable
CREATE TABLE "signing_keys" (
    "name" TEXT NOT NULL,
    "key_id" TEXT NOT NULL,
    "secret" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "signing_keys_pkey" PRIMARY KEY ("name")
);
