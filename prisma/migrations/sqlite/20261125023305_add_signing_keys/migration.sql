-- CreateTable
CREATE TABLE "signing_keys" (
    "name" TEXT NOT NULL PRIMARY KEY,
    "key_id" TEXT NOT NULL,
    "secret" TEXT NOT NULL,
    "created_at" DATETIME NOT NULL
);
