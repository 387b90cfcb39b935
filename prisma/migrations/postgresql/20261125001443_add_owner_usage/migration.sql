-- CreateTable
CREATE TABLE "owner_usage" (
    "owner_id" TEXT NOT NULL,
    "bytes" BIGINT,

    CONSTRAINT "owner_usage_pkey" PRIMARY KEY ("owner_id")
);
