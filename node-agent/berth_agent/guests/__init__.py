"""What guests show of themselves: whether they live, whether they are ready, and what their agents say of them."""
