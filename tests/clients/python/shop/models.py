"""Authors and their books."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q


class Author(models.Model):
    name = models.CharField(max_length=100, unique=True)
    born = models.DateField(null=True)
    tags = ArrayField(models.CharField(max_length=20), default=list)
    extra = models.JSONField(default=dict)


class Book(models.Model):
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    title = models.CharField(max_length=200)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    sold_at = models.DateTimeField(null=True)
    cover = models.BinaryField(default=b"")

    class Meta:
        indexes = [models.Index(fields=["title"], name="book_title")]
        constraints = [models.CheckConstraint(condition=Q(price__gte=0), name="price_not_negative")]
