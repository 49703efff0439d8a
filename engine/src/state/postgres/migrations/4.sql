-- Lengths of vectors that were deleted from the cache because the embedders that make them are free.
CREATE TABLE forgotten_vectors (components INT PRIMARY KEY);
