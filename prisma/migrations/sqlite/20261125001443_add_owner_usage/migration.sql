-- CreateTable
CREATE TABLE "owner_usage" (
    "owner_id" TEXT NOT NULL PRIMARY KEY,
    "bytes" BIGINT
);
