"""What is made of finished maps, one file a product: tables, areas, styles, stores."""
